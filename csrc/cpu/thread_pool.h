#pragma once

namespace x2c {

constexpr int kMaxThreads = 64;

namespace detail {
using Task = void (*)(const void* context, int begin, int end);
void run_task(int count, int grain, int threads, Task task, const void* context);
}  // namespace detail

// Calls f(begin, end) over 0..count in pieces of `grain`, on the calling thread and up to threads - 1
// helpers, and returns when every piece is done. What f throws is thrown on from here. Never allocates once
// the helpers exist. If another caller is using the helpers, this caller does all of its work itself.
template <class F>
void parallel_for(int count, int grain, int threads, const F& f) {
    detail::run_task(
        count, grain, threads,
        [](const void* context, int begin, int end) { (*static_cast<const F*>(context))(begin, end); }, &f);
}

}  // namespace x2c
