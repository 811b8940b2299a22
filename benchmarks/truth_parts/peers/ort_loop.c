/* A loop around ONNX Runtime's C API: no Python, none of the product's code.

   ort_loop LIBRARY MODEL INPUT OUTPUT ROWS_FILE ROWS WARM_S TIMED_S AXIS…     prints {"median_ns": …, "runs": …}

   INPUT and OUTPUT are tensor names, ROWS_FILE holds ROWS float32 queries of the shape AXIS…, one behind the other.
   The library is opened at run time and its functions are found by their place in the API's table: new ones are only
   ever added at its end, so that neither headers nor a matching release are needed. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
  GET_ERROR_MESSAGE = 2,
  CREATE_ENV = 3,
  CREATE_SESSION = 7,
  RUN = 9,
  CREATE_SESSION_OPTIONS = 10,
  SET_INTRA_OP_NUM_THREADS = 24,
  SET_INTER_OP_NUM_THREADS = 25,
  CREATE_TENSOR_WITH_DATA = 49,
  CREATE_CPU_MEMORY_INFO = 69,
  RELEASE_VALUE = 96
};
enum { API_VERSION = 4, WARNING = 2, ARENA = 1, DEFAULT_MEMORY = 0, FLOAT32 = 1, MOST_AXES = 8 };

typedef void *status;
typedef struct {
  void **(*get_api)(uint32_t version);
} api_base;

static void **api;

static void check(status failed) {
  if (failed != NULL) {
    fprintf(stderr, "%s\n", ((const char *(*)(status))api[GET_ERROR_MESSAGE])(failed));
    exit(1);
  }
}

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int by_size(const void *a, const void *b) {
  int64_t first = *(const int64_t *)a, second = *(const int64_t *)b;
  return (first > second) - (first < second);
}

static void *session;
static const char *input_name, *output_name;

static size_t spend(void **rows, int count, double seconds, int64_t *spent_ns, size_t most) {
  status (*run)(void *, void *, const char *const *, void *const *, size_t, const char *const *, size_t, void **) =
      (status(*)(void *, void *, const char *const *, void *const *, size_t, const char *const *, size_t,
                 void **))api[RUN];
  void (*release)(void *) = (void (*)(void *))api[RELEASE_VALUE];
  int64_t ends_ns = now_ns() + (int64_t)(seconds * 1e9);
  size_t runs = 0;
  while (now_ns() < ends_ns && runs < most) {
    for (int row = 0; row < count && runs < most; row++) {
      void *output = NULL;
      void *const inputs[1] = {rows[row]};
      int64_t start_ns = now_ns();
      check(run(session, NULL, &input_name, inputs, 1, &output_name, 1, &output));
      spent_ns[runs++] = now_ns() - start_ns;
      release(output);
    }
  }
  return runs;
}

int main(int argc, char **argv) {
  if (argc < 10 || argc > 9 + MOST_AXES) {
    fprintf(stderr, "usage: ort_loop LIBRARY MODEL INPUT OUTPUT ROWS_FILE ROWS WARM_S TIMED_S AXIS...\n");
    return 2;
  }
  void *library = dlopen(argv[1], RTLD_NOW);
  api_base *(*get_base)(void) = library ? (api_base * (*)(void)) dlsym(library, "OrtGetApiBase") : NULL;
  api = get_base ? get_base()->get_api(API_VERSION) : NULL;
  if (api == NULL) {
    fprintf(stderr, "%s offers no API of version %d\n", argv[1], API_VERSION);
    return 1;
  }
  void *env = NULL, *options = NULL, *memory = NULL;
  check(((status(*)(int, const char *, void **))api[CREATE_ENV])(WARNING, "loop", &env));
  check(((status(*)(void **))api[CREATE_SESSION_OPTIONS])(&options));
  check(((status(*)(void *, int))api[SET_INTRA_OP_NUM_THREADS])(options, 1));
  check(((status(*)(void *, int))api[SET_INTER_OP_NUM_THREADS])(options, 1));
  check(((status(*)(void *, const char *, void *, void **))api[CREATE_SESSION])(env, argv[2], options, &session));
  check(((status(*)(int, int, void **))api[CREATE_CPU_MEMORY_INFO])(ARENA, DEFAULT_MEMORY, &memory));
  input_name = argv[3], output_name = argv[4];

  int count = atoi(argv[6]), axes = argc - 9;
  int64_t shape[MOST_AXES];
  size_t size = sizeof(float);
  for (int axis = 0; axis < axes; axis++) {
    shape[axis] = atoll(argv[9 + axis]);
    size *= (size_t)shape[axis];
  }
  char *values = aligned_alloc(64, (size * (size_t)count + 63) / 64 * 64);
  FILE *file = fopen(argv[5], "rb");
  if (values == NULL || file == NULL || fread(values, size, (size_t)count, file) != (size_t)count) {
    fprintf(stderr, "%s does not hold %d rows of %zu bytes\n", argv[5], count, size);
    return 1;
  }
  fclose(file);
  void **rows = calloc((size_t)count, sizeof(void *));
  for (int row = 0; row < count; row++)
    check(((status(*)(void *, void *, size_t, const int64_t *, size_t, int, void **))api[CREATE_TENSOR_WITH_DATA])(
        memory, values + size * (size_t)row, size, shape, (size_t)axes, FLOAT32, &rows[row]));

  size_t most = 4000000;
  int64_t *spent_ns = malloc(most * sizeof(int64_t));
  spend(rows, count, atof(argv[7]), spent_ns, most);
  size_t runs = spend(rows, count, atof(argv[8]), spent_ns, most);
  qsort(spent_ns, runs, sizeof(int64_t), by_size);
  printf("{\"median_ns\": %lld, \"runs\": %zu}\n", (long long)spent_ns[runs / 2], runs);
  return 0;
}
