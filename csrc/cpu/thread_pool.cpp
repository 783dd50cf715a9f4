#include "thread_pool.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <thread>

namespace x2c::detail {
namespace {

class Pool {
  public:
    // False when another thread is inside: the helpers serve one caller at a time.
    bool try_run(int count, int grain, int threads, Task task, const void* context) {
        std::unique_lock caller(caller_mutex_, std::try_to_lock);
        if (!caller.owns_lock()) return false;
        {
            const std::lock_guard lock(mutex_);
            start_helpers(threads - 1);
            count_ = count;
            grain_ = grain;
            task_ = task;
            context_ = context;
            next_.store(0, std::memory_order_relaxed);
            invited_ = std::min(threads - 1, helpers_);
        }
        if (threads == 2) {
            work_.notify_one();
        } else {
            work_.notify_all();
        }
        // Whatever a piece throws is thrown to the caller, but not before the helpers have left its frames.
        std::exception_ptr failure = take_pieces();
        // A helper that has not woken up by now is no longer needed: take its invitation back instead
        // of waiting for the scheduler.
        std::unique_lock lock(mutex_);
        invited_ = 0;
        done_.wait(lock, [this] { return busy_ == 0; });
        if (failure == nullptr) failure = failure_;
        failure_ = nullptr;
        lock.unlock();
        if (failure != nullptr) std::rethrow_exception(failure);
        return true;
    }

  private:
    void start_helpers(int wanted) {
        if (helpers_ >= wanted) return;
        // Signals belong to Python's main thread; a helper that took one would delay it.
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        try {
            while (helpers_ < wanted) {
                std::thread([this] { help(); }).detach();
                ++helpers_;
            }
        } catch (const std::exception&) {  // system_error, bad_alloc
            // No more threads to be had: the caller and those that exist do the work.
        }
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }

    void help() {
        std::unique_lock lock(mutex_);
        for (;;) {
            work_.wait(lock, [this] { return invited_ > 0; });
            --invited_;
            ++busy_;
            lock.unlock();
            const std::exception_ptr failure = take_pieces();
            lock.lock();
            if (failure != nullptr) failure_ = failure;
            if (--busy_ == 0) done_.notify_one();
        }
    }

    // What the first piece threw that could not be done; no further ones are begun then.
    std::exception_ptr take_pieces() {
        try {
            for (;;) {
                const int begin = next_.fetch_add(grain_, std::memory_order_relaxed);
                if (begin >= count_) return nullptr;
                task_(context_, begin, std::min(begin + grain_, count_));
            }
        } catch (...) {
            next_.store(count_, std::memory_order_relaxed);
            return std::current_exception();
        }
    }

    std::mutex caller_mutex_;
    std::mutex mutex_;
    std::condition_variable work_;
    std::condition_variable done_;
    int helpers_ = 0;
    int invited_ = 0;
    int busy_ = 0;
    int count_ = 0;
    int grain_ = 1;
    Task task_ = nullptr;
    const void* context_ = nullptr;
    std::exception_ptr failure_;  // a helper's
    std::atomic<int> next_{0};
};

std::atomic<Pool*> current_pool{nullptr};

// The pool is never destroyed: its helpers sleep until the process ends, and destroying a condition
// variable under them at exit would hang. A forked child has no helpers, and perhaps a locked mutex, so
// it forgets its parent's pool and makes its own.
Pool& pool() {
    static const int registered =
        pthread_atfork(nullptr, nullptr, [] { current_pool.store(nullptr, std::memory_order_relaxed); });
    static_cast<void>(registered);
    Pool* existing = current_pool.load(std::memory_order_acquire);
    if (existing != nullptr) return *existing;
    Pool* mine = new Pool;
    if (current_pool.compare_exchange_strong(existing, mine, std::memory_order_acq_rel)) return *mine;
    delete mine;  // another thread was faster; nobody has seen this one
    return *existing;
}

}  // namespace

void run_task(int count, int grain, int threads, Task task, const void* context) {
    if (count <= 0) return;
    grain = std::max(grain, 1);
    const int useful = std::min({threads, kMaxThreads, (count - 1) / grain + 1});
    if (useful > 1 && pool().try_run(count, grain, useful, task, context)) return;
    task(context, 0, count);
}

}  // namespace x2c::detail
