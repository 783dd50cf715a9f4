#include <cuda_runtime_api.h>

#include <cstring>

#include "check.h"
#include "runtime.h"

namespace x2c::cuda {
namespace {

cudaStream_t stream_of(std::uintptr_t handle) { return reinterpret_cast<cudaStream_t>(handle); }

}  // namespace

DeviceMemory::DeviceMemory(std::size_t bytes) {
    check(cudaMalloc(&data_, bytes), "cudaMalloc");
    const cudaError_t cleared = cudaMemset(data_, 0, bytes);
    // cudaMemset may return before it is done, and non-blocking streams do not wait for it.
    const cudaError_t done = cleared == cudaSuccess ? cudaStreamSynchronize(nullptr) : cleared;
    if (done == cudaSuccess) return;
    cudaFree(data_);
    check(done, "cudaMemset");
}

DeviceMemory::~DeviceMemory() { cudaFree(data_); }

PinnedMemory::PinnedMemory(std::size_t bytes) : bytes_(bytes) {
    check(cudaHostAlloc(&host_, bytes, cudaHostAllocMapped | cudaHostAllocPortable), "cudaHostAlloc");
    std::memset(host_, 0, bytes);
    const cudaError_t mapped = cudaHostGetDevicePointer(&device_, host_, 0);
    if (mapped == cudaSuccess) return;
    cudaFreeHost(host_);
    check(mapped, "cudaHostGetDevicePointer");
}

PinnedMemory::~PinnedMemory() { cudaFreeHost(host_); }

Graph::~Graph() { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable_)); }

void Graph::launch(std::uintptr_t stream) const {
    check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable_), stream_of(stream)), "cudaGraphLaunch");
}

Stream::Stream(std::uintptr_t foreign) : own_(foreign == 0) {
    cudaEvent_t done = nullptr;
    check(cudaEventCreateWithFlags(&done, cudaEventBlockingSync | cudaEventDisableTiming),
          "cudaEventCreateWithFlags");
    done_ = done;
    stream_ = reinterpret_cast<void*>(foreign);
    if (!own_) return;
    int lowest = 0, highest = 0;
    cudaStream_t made = nullptr;
    cudaError_t status = cudaDeviceGetStreamPriorityRange(&lowest, &highest);
    if (status == cudaSuccess) status = cudaStreamCreateWithPriority(&made, cudaStreamNonBlocking, highest);
    stream_ = made;
    if (status == cudaSuccess) return;
    cudaEventDestroy(done);
    check(status, "cudaStreamCreateWithPriority");
}

Stream::~Stream() {
    cudaEventDestroy(static_cast<cudaEvent_t>(done_));
    if (own_) cudaStreamDestroy(static_cast<cudaStream_t>(stream_));
}

void Stream::wait() {
    const auto done = static_cast<cudaEvent_t>(done_);
    check(cudaEventRecord(done, static_cast<cudaStream_t>(stream_)), "cudaEventRecord");
    check(cudaEventSynchronize(done), "cudaEventSynchronize");
}

void Stream::begin_capture() {
    check(cudaStreamBeginCapture(static_cast<cudaStream_t>(stream_), cudaStreamCaptureModeThreadLocal),
          "cudaStreamBeginCapture");
}

std::unique_ptr<Graph> Stream::end_capture() {
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(static_cast<cudaStream_t>(stream_), &graph), "cudaStreamEndCapture");
    cudaGraphExec_t executable = nullptr;
    const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "cudaGraphInstantiate");
    auto made = std::make_unique<Graph>(executable);
    // So that the first launch is as quick as the others.
    check(cudaGraphUpload(executable, static_cast<cudaStream_t>(stream_)), "cudaGraphUpload");
    return made;
}

void Stream::abandon_capture() noexcept {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    cudaStreamIsCapturing(static_cast<cudaStream_t>(stream_), &status);
    if (status != cudaStreamCaptureStatusNone) {
        cudaGraph_t graph = nullptr;
        cudaStreamEndCapture(static_cast<cudaStream_t>(stream_), &graph);
        if (graph != nullptr) cudaGraphDestroy(graph);
    }
    cudaGetLastError();  // the failure is known already; the next call must not find it
}

Event::Event() {
    cudaEvent_t made = nullptr;
    check(cudaEventCreateWithFlags(&made, cudaEventDefault), "cudaEventCreateWithFlags");
    event_ = made;
}

Event::~Event() { cudaEventDestroy(static_cast<cudaEvent_t>(event_)); }

void Event::record(std::uintptr_t stream) {
    check(cudaEventRecord(static_cast<cudaEvent_t>(event_), stream_of(stream)), "cudaEventRecord");
}

float Event::milliseconds_since(const Event& earlier) const {
    float milliseconds = 0.0f;
    check(cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(earlier.event_),
                               static_cast<cudaEvent_t>(event_)),
          "cudaEventElapsedTime");
    return milliseconds;
}

void copy_in(std::uintptr_t device, std::uintptr_t host, std::size_t bytes, std::uintptr_t stream) {
    check(cudaMemcpyAsync(reinterpret_cast<void*>(device), reinterpret_cast<const void*>(host), bytes,
                          cudaMemcpyHostToDevice, stream_of(stream)),
          "cudaMemcpyAsync(to the device)");
}

void copy_out(std::uintptr_t host, std::uintptr_t device, std::size_t bytes, std::uintptr_t stream) {
    check(cudaMemcpyAsync(reinterpret_cast<void*>(host), reinterpret_cast<const void*>(device), bytes,
                          cudaMemcpyDeviceToHost, stream_of(stream)),
          "cudaMemcpyAsync(to the host)");
}

}  // namespace x2c::cuda
