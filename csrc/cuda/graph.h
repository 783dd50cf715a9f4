#pragma once

#include <cstdint>
#include <memory>

// What Python's CUDA libraries do not do with a stream: capture it as a graph, and give it a priority.
// Streams are pycuda's, in the first device's primary context, and come as integers. Every call that fails
// throws std::runtime_error with its name; destructors do not, for a process may end after its driver did.
namespace x2c::cuda {

// What a stream was given between begin_capture and end_capture, to be done again as one launch.
class Graph {
  public:
    explicit Graph(void* executable) : executable_(executable) {}
    Graph(const Graph&) = delete;
    Graph& operator=(const Graph&) = delete;
    ~Graph();

    void launch(std::uintptr_t stream) const;

  private:
    void* executable_;
};

// Only this thread's calls can spoil the capture (thread-local mode).
void begin_capture(std::uintptr_t stream);
std::unique_ptr<Graph> end_capture(std::uintptr_t stream);
// Ends a capture that failed; the stream can be used again.
void abandon_capture(std::uintptr_t stream) noexcept;

// Work enqueued from now on goes before that of other streams. Returns the priority that the stream says it
// has: a number below zero, or 0 on a device that knows no priorities.
int set_highest_priority(std::uintptr_t stream);

}  // namespace x2c::cuda
