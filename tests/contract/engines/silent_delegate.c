/* A delegate of TensorFlow Lite that loads and takes no operator; with REFUSES it says that it cannot be made.
   The interface is TensorFlow Lite's (external_delegate_interface.h); the structure's order is part of it. */
#include <stddef.h>
#include <stdint.h>

struct delegate {
  void* data;
  int (*prepare)(void* context, struct delegate* self);
  int (*copy_from)(void);
  int (*copy_to)(void);
  void (*release)(void);
  int64_t flags;
  void* builder;
};

static int prepare(void* context, struct delegate* self) {
  (void)context;
  (void)self;
  return 0;
}

static struct delegate only = {.prepare = prepare};

void* tflite_plugin_create_delegate(char** keys, char** values, size_t count, void (*report)(const char*)) {
  (void)keys;
  (void)values;
  (void)count;
#ifdef REFUSES
  report("no such accelerator");
  return NULL;
#else
  (void)report;
  return &only;
#endif
}

void tflite_plugin_destroy_delegate(void* delegate) {
  (void)delegate;
}
