/* A loop around ONNX Runtime's C API that takes turns: no Python, none of the product's code.

   run_loop(MODEL INPUT OUTPUT ROWS_FILE ROWS WARM_S REWARM_S TURN_S TIMED_S AXIS…)

   INPUT and OUTPUT are tensor names, ROWS_FILE holds ROWS float32 queries of the shape AXIS…, one behind the other.
   It warms up and prints "ready". At each line "go" it runs for REWARM_S, which does not count, then for TURN_S, and
   prints "over", or "enough" once it has timed for TIMED_S in all. At any other line, or none, it prints the median of
   each turn, {"medians_ns": […]}, and ends.

   The API is that of the library which has loaded this one as custom operators: ort_loop.py says why. Its functions are
   found by their place in the API's table: new ones are only ever added at its end, so that neither headers nor a
   matching release are needed. */
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
enum { API_VERSION = 4, WARNING = 2, ARENA = 1, DEFAULT_MEMORY = 0, FLOAT32 = 1, FIRST_AXIS = 9, MOST_AXES = 8 };

typedef void *status;
typedef struct {
  void **(*get_api)(uint32_t version);
} api_base;

static const api_base *base;
static void **api;

/* What ONNX Runtime calls in a library of custom operators: there are none, the API is kept. */
status RegisterCustomOps(void *options, const api_base *given) {
  (void)options;
  base = given;
  return NULL;
}

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

static int next_row;

static size_t spend(void **rows, int count, double seconds, int64_t *spent_ns, size_t most) {
  status (*run)(void *, void *, const char *const *, void *const *, size_t, const char *const *, size_t, void **) =
      (status(*)(void *, void *, const char *const *, void *const *, size_t, const char *const *, size_t,
                 void **))api[RUN];
  void (*release)(void *) = (void (*)(void *))api[RELEASE_VALUE];
  int64_t ends_ns = now_ns() + (int64_t)(seconds * 1e9);
  size_t runs = 0;
  do {
    void *output = NULL;
    void *const inputs[1] = {rows[next_row]};
    next_row = (next_row + 1) % count;
    int64_t start_ns = now_ns();
    check(run(session, NULL, &input_name, inputs, 1, &output_name, 1, &output));
    spent_ns[runs++] = now_ns() - start_ns;
    release(output);
  } while (now_ns() < ends_ns && runs < most);
  return runs;
}

static void take_turns(void **rows, int count, const double *seconds, int64_t *spent_ns, size_t most) {
  enum { REWARM, TURN, TIMED, MOST_TURNS = 100000 };
  static int64_t medians_ns[MOST_TURNS];
  char word[16];
  double timed_s = 0;
  int turns = 0;
  while (turns < MOST_TURNS && fgets(word, sizeof word, stdin) != NULL && strcmp(word, "go\n") == 0) {
    spend(rows, count, seconds[REWARM], spent_ns, most);
    int64_t start_ns = now_ns();
    size_t runs = spend(rows, count, seconds[TURN], spent_ns, most);
    timed_s += (double)(now_ns() - start_ns) / 1e9;
    qsort(spent_ns, runs, sizeof(int64_t), by_size);
    medians_ns[turns++] = (spent_ns[(runs - 1) / 2] + spent_ns[runs / 2]) / 2;
    printf(timed_s < seconds[TIMED] ? "over\n" : "enough\n");
    fflush(stdout);
  }
  printf("{\"medians_ns\": [");
  for (int turn = 0; turn < turns; turn++) printf(turn ? ", %lld" : "%lld", (long long)medians_ns[turn]);
  printf("]}\n");
}

int run_loop(int argc, char **argv) {
  if (argc < FIRST_AXIS + 1 || argc > FIRST_AXIS + MOST_AXES) {
    fprintf(stderr, "usage: run_loop MODEL INPUT OUTPUT ROWS_FILE ROWS WARM_S REWARM_S TURN_S TIMED_S AXIS...\n");
    return 2;
  }
  api = base ? base->get_api(API_VERSION) : NULL;
  if (api == NULL) {
    fprintf(stderr, "no API of version %d: this library was not loaded as custom operators\n", API_VERSION);
    return 1;
  }
  void *env = NULL, *options = NULL, *memory = NULL;
  check(((status(*)(int, const char *, void **))api[CREATE_ENV])(WARNING, "loop", &env));
  check(((status(*)(void **))api[CREATE_SESSION_OPTIONS])(&options));
  check(((status(*)(void *, int))api[SET_INTRA_OP_NUM_THREADS])(options, 1));
  check(((status(*)(void *, int))api[SET_INTER_OP_NUM_THREADS])(options, 1));
  check(((status(*)(void *, const char *, void *, void **))api[CREATE_SESSION])(env, argv[0], options, &session));
  check(((status(*)(int, int, void **))api[CREATE_CPU_MEMORY_INFO])(ARENA, DEFAULT_MEMORY, &memory));
  input_name = argv[1], output_name = argv[2];

  int count = atoi(argv[4]), axes = argc - FIRST_AXIS;
  int64_t shape[MOST_AXES];
  size_t size = sizeof(float);
  for (int axis = 0; axis < axes; axis++) {
    shape[axis] = atoll(argv[FIRST_AXIS + axis]);
    size *= (size_t)shape[axis];
  }
  char *values = aligned_alloc(64, (size * (size_t)count + 63) / 64 * 64);
  FILE *file = fopen(argv[3], "rb");
  if (values == NULL || file == NULL || fread(values, size, (size_t)count, file) != (size_t)count) {
    fprintf(stderr, "%s does not hold %d rows of %zu bytes\n", argv[3], count, size);
    return 1;
  }
  fclose(file);
  void **rows = calloc((size_t)count, sizeof(void *));
  for (int row = 0; row < count; row++)
    check(((status(*)(void *, void *, size_t, const int64_t *, size_t, int, void **))api[CREATE_TENSOR_WITH_DATA])(
        memory, values + size * (size_t)row, size, shape, (size_t)axes, FLOAT32, &rows[row]));

  size_t most = 4000000;
  int64_t *spent_ns = malloc(most * sizeof(int64_t));
  spend(rows, count, atof(argv[5]), spent_ns, most);
  printf("ready\n");
  fflush(stdout);
  double seconds[] = {atof(argv[6]), atof(argv[7]), atof(argv[8])};
  take_turns(rows, count, seconds, spent_ns, most);
  return 0;
}
