#pragma once

#include <cxxabi.h>
#include <pybind11/pybind11.h>
#include <unistd.h>

namespace x2c::bindings {

// Without the GIL for as long as it lives.
//
// A daemon thread that wants the GIL back while the interpreter goes away is ended by Python (before 3.14)
// with an unwinding that no destructor may let through: pybind11's gil_scoped_release would end the process
// with SIGABRT. Here such a thread sleeps until the process is gone, as it does from Python 3.14 on.
class Unlocked {
  public:
    Unlocked() : state_(PyEval_SaveThread()) {}
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;
    ~Unlocked() {
        try {
            PyEval_RestoreThread(state_);
        } catch (abi::__forced_unwind&) {
            for (;;) pause();
        }
    }

  private:
    PyThreadState* state_;
};

}  // namespace x2c::bindings
