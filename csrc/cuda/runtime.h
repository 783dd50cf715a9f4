#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

// Memory, streams, events and graphs of the first device's primary context, which PyTorch and TensorRT use
// too. Addresses and streams are integers, as Python passes them on. Every call that fails throws
// std::runtime_error with its name; destructors do not, for a process may end after its driver did.
namespace x2c::cuda {

// Device memory, zero-filled.
class DeviceMemory {
  public:
    explicit DeviceMemory(std::size_t bytes);
    DeviceMemory(const DeviceMemory&) = delete;
    DeviceMemory& operator=(const DeviceMemory&) = delete;
    ~DeviceMemory();

    std::uintptr_t address() const { return reinterpret_cast<std::uintptr_t>(data_); }

  private:
    void* data_ = nullptr;
};

// Page-locked host memory, zero-filled, which the device can read and write in place.
class PinnedMemory {
  public:
    explicit PinnedMemory(std::size_t bytes);
    PinnedMemory(const PinnedMemory&) = delete;
    PinnedMemory& operator=(const PinnedMemory&) = delete;
    ~PinnedMemory();

    void* host() const { return host_; }
    std::size_t bytes() const { return bytes_; }
    // Where the device sees it.
    std::uintptr_t address() const { return reinterpret_cast<std::uintptr_t>(device_); }

  private:
    void* host_ = nullptr;
    void* device_ = nullptr;
    std::size_t bytes_ = 0;
};

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

// A non-blocking stream of the highest priority, or a wrapper of another library's.
class Stream {
  public:
    explicit Stream(std::uintptr_t foreign);
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    ~Stream();

    std::uintptr_t handle() const { return reinterpret_cast<std::uintptr_t>(stream_); }
    // Until all work given so far is done. The thread sleeps: spinning would take a core from the tick.
    void wait();
    // Only this thread's calls can spoil the capture (thread-local mode).
    void begin_capture();
    std::unique_ptr<Graph> end_capture();
    // Ends a capture that failed; the stream can be used again.
    void abandon_capture() noexcept;

  private:
    void* stream_ = nullptr;
    void* done_ = nullptr;
    bool own_ = true;
};

// A moment on a stream, with a time.
class Event {
  public:
    Event();
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    ~Event();

    void record(std::uintptr_t stream);
    // Both must have happened.
    float milliseconds_since(const Event& earlier) const;

  private:
    void* event_ = nullptr;
};

// Enqueue a copy; the host side should be page-locked.
void copy_in(std::uintptr_t device, std::uintptr_t host, std::size_t bytes, std::uintptr_t stream);
void copy_out(std::uintptr_t host, std::uintptr_t device, std::size_t bytes, std::uintptr_t stream);

}  // namespace x2c::cuda
