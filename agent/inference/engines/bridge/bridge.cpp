// A C interface to ExecuTorch's C++ runtime, as its Python wheel ships it: headers and libraries without torch.
//
// The wheel's own Python bindings link libtorch; this links nothing but the runtime. It is compiled once on the device
// (`build.py`) and loaded with ctypes (`library.py`). A model has one method that is run: `forward`.
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <executorch/extension/data_loader/buffer_data_loader.h>
#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>
#include <executorch/runtime/backend/interface.h>
#include <executorch/runtime/platform/platform.h>
#include <executorch/runtime/platform/runtime.h>

using executorch::extension::BufferDataLoader;
using executorch::extension::Module;
using executorch::extension::TensorPtr;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::Program;
using executorch::runtime::TensorInfo;

// The wheel has the library and not this header: only what is called is declared.
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  size_t get_thread_count() const;
  bool _unsafe_reset_threadpool(uint32_t count);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

namespace {

constexpr size_t kAlignment = 64;  // of a program in memory: its tensors are read in place
constexpr size_t kMostRemembered = 2000;
const char kMethod[] = "forward";

thread_local std::string remembered;  // what the runtime has said of errors since the last call of ours

void remember(
    et_timestamp_t,
    et_pal_log_level_t level,
    const char*,
    const char*,
    size_t,
    const char* text,
    size_t size) {
  if ((level == kError || level == kFatal) && remembered.size() < kMostRemembered) {
    remembered.append(remembered.empty() ? "" : "; ").append(text, size);
  }
}

struct Model {
  std::unique_ptr<void, decltype(&std::free)> program{nullptr, &std::free};
  std::unique_ptr<Module> module;
  std::vector<TensorPtr> inputs;
  std::vector<EValue> values;
  std::vector<EValue> outputs;
};

struct Tensor {
  int32_t dtype;
  int32_t rank;
  int32_t sizes[16];
  void* data;
  uint64_t bytes;
};

int failed(Error error) {
  return static_cast<int>(error);
}

Error describe(Model& model, bool output, size_t index, Tensor* found) {
  auto meta = model.module->method_meta(kMethod);
  if (!meta.ok()) return meta.error();
  auto info = output ? meta->output_tensor_meta(index) : meta->input_tensor_meta(index);
  if (!info.ok()) return info.error();
  if (info->sizes().size() > 16) return Error::NotSupported;
  found->dtype = static_cast<int32_t>(info->scalar_type());
  found->rank = static_cast<int32_t>(info->sizes().size());
  std::copy(info->sizes().begin(), info->sizes().end(), found->sizes);
  found->data = nullptr;
  found->bytes = info->nbytes();
  return Error::Ok;
}

Error open(Model& model, const char* path, const void* bytes, size_t size) {
  if (path != nullptr) {
    model.module = std::make_unique<Module>(path, Module::LoadMode::Mmap);
  } else {
    model.program.reset(std::aligned_alloc(kAlignment, (size + kAlignment - 1) / kAlignment * kAlignment));
    if (model.program == nullptr) return Error::MemoryAllocationFailed;
    std::memcpy(model.program.get(), bytes, size);
    model.module = std::make_unique<Module>(std::make_unique<BufferDataLoader>(model.program.get(), size));
  }
  // The whole structure is checked: a file that is cut off or altered must not be followed into nowhere.
  Error error = model.module->load(Program::Verification::InternalConsistency);
  return error != Error::Ok ? error : model.module->load_method(kMethod);
}

Error prepare(Model& model) {
  auto meta = model.module->method_meta(kMethod);
  if (!meta.ok()) return meta.error();
  for (size_t index = 0; index < meta->num_inputs(); index++) {
    Tensor found;
    Error error = describe(model, false, index, &found);
    if (error != Error::Ok) return error;
    std::vector<executorch::aten::SizesType> sizes(found.sizes, found.sizes + found.rank);
    const auto type = static_cast<executorch::aten::ScalarType>(found.dtype);
    model.inputs.push_back(executorch::extension::make_tensor_ptr(std::move(sizes), nullptr, type));
    model.values.emplace_back(*model.inputs.back());
  }
  return Error::Ok;
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

// Why the last call on this thread failed, in the runtime's own words.
const char* thresher_error() {
  return remembered.c_str();
}

void thresher_start() {
  executorch::runtime::register_pal(executorch::runtime::PalImpl::create(&remember, __FILE__));
  executorch::runtime::runtime_init();
}

// Threads that kernels share from now on; returns how many there are.
uint32_t thresher_threads(uint32_t count) {
  auto* pool = executorch::extension::threadpool::get_threadpool();
  if (pool == nullptr) return 0;
  if (pool->get_thread_count() != count) pool->_unsafe_reset_threadpool(count);
  return static_cast<uint32_t>(pool->get_thread_count());
}

// The name of the backend at `index`; null behind the last one.
const char* thresher_backend(size_t index) {
  if (index >= executorch::runtime::get_num_registered_backends()) return nullptr;
  auto name = executorch::runtime::get_backend_name(index);
  return name.ok() ? *name : nullptr;
}

// Load the program at `path`, or the `size` bytes where it is null; null and an error code where it is refused.
Model* thresher_open(const char* path, const void* bytes, size_t size, int* error) {
  remembered.clear();
  auto model = std::make_unique<Model>();
  Error found = open(*model, path, bytes, size);
  if (found == Error::Ok) found = prepare(*model);
  *error = failed(found);
  return found == Error::Ok ? model.release() : nullptr;
}

void thresher_close(Model* model) {
  delete model;
}

int thresher_count(Model* model, int output) {
  auto meta = model->module->method_meta(kMethod);
  if (!meta.ok()) return -1;
  return static_cast<int>(output ? meta->num_outputs() : meta->num_inputs());
}

// Describe an input or output as the program declares it.
int thresher_describe(Model* model, int output, size_t index, Tensor* found) {
  remembered.clear();
  return failed(describe(*model, output != 0, index, found));
}

// Whether any part of the method was given to this backend.
int thresher_uses(Model* model, const char* backend) {
  auto meta = model->module->method_meta(kMethod);
  return meta.ok() && meta->uses_backend(backend);
}

// Run once on the inputs' memory, which must stay as long as this call.
int thresher_run(Model* model, void* const* inputs) {
  remembered.clear();
  for (size_t index = 0; index < model->inputs.size(); index++) {
    model->inputs[index]->unsafeGetTensorImpl()->set_data(inputs[index]);
  }
  auto result = model->module->execute(kMethod, model->values);
  if (!result.ok()) return failed(result.error());
  model->outputs = std::move(*result);
  return 0;
}

// Where an output of the last run lies; it is overwritten by the next one.
int thresher_output(Model* model, size_t index, Tensor* found) {
  if (index >= model->outputs.size() || !model->outputs[index].isTensor()) return failed(Error::InvalidArgument);
  const auto& tensor = model->outputs[index].toTensor();
  if (tensor.dim() > 16) return failed(Error::NotSupported);
  found->dtype = static_cast<int32_t>(tensor.scalar_type());
  found->rank = static_cast<int32_t>(tensor.dim());
  std::copy(tensor.sizes().begin(), tensor.sizes().end(), found->sizes);
  found->data = const_cast<void*>(tensor.const_data_ptr());
  found->bytes = tensor.nbytes();
  return 0;
}

}  // extern "C"
#pragma GCC visibility pop
