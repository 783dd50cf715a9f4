#include <cuda_runtime_api.h>

#include "check.h"
#include "graph.h"

namespace x2c::cuda {
namespace {

cudaStream_t stream_of(std::uintptr_t handle) { return reinterpret_cast<cudaStream_t>(handle); }

}  // namespace

Graph::~Graph() { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable_)); }

void Graph::launch(std::uintptr_t stream) const {
    check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable_), stream_of(stream)), "cudaGraphLaunch");
}

void begin_capture(std::uintptr_t stream) {
    check(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal),
          "cudaStreamBeginCapture");
}

std::unique_ptr<Graph> end_capture(std::uintptr_t stream) {
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream_of(stream), &graph), "cudaStreamEndCapture");
    cudaGraphExec_t executable = nullptr;
    const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "cudaGraphInstantiate");
    auto made = std::make_unique<Graph>(executable);
    // So that the first launch is as quick as the others.
    check(cudaGraphUpload(executable, stream_of(stream)), "cudaGraphUpload");
    return made;
}

void abandon_capture(std::uintptr_t stream) noexcept {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    cudaStreamIsCapturing(stream_of(stream), &status);
    if (status != cudaStreamCaptureStatusNone) {
        cudaGraph_t graph = nullptr;
        cudaStreamEndCapture(stream_of(stream), &graph);
        if (graph != nullptr) cudaGraphDestroy(graph);
    }
    cudaGetLastError();  // the failure is known already; the next call must not find it
}

int set_highest_priority(std::uintptr_t stream) {
    int lowest = 0, highest = 0;
    check(cudaDeviceGetStreamPriorityRange(&lowest, &highest), "cudaDeviceGetStreamPriorityRange");
    cudaStreamAttrValue value = {};
    value.priority = highest;
    check(cudaStreamSetAttribute(stream_of(stream), cudaLaunchAttributePriority, &value),
          "cudaStreamSetAttribute(priority)");
    check(cudaStreamGetAttribute(stream_of(stream), cudaLaunchAttributePriority, &value),
          "cudaStreamGetAttribute(priority)");
    return value.priority;
}

}  // namespace x2c::cuda
