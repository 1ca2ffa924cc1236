// A network namespace of a test's own, without a name: it and its devices are gone when the last
// descriptor is closed, also when the test crashes.
#pragma once

#include "overlay/link/link.h"
#include "overlay/link/unique_fd.h"

#include <fcntl.h>
#include <sched.h>

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>

namespace homeport::overlay {

class NetNamespace {
 public:
  NetNamespace() {
    in_thread([this] {
      if (::unshare(CLONE_NEWNET) < 0) {
        throw std::system_error(errno, std::generic_category(), "unshare: needs root");
      }
      fd_.reset(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
      set_link_up("lo", true).value();
    });
  }

  int fd() const { return fd_.get(); }

  /// Runs `function` on a thread inside the namespace, and passes on what it returns or throws.
  template <class Function>
  auto run(Function function) const {
    if constexpr (std::is_void_v<decltype(function())>) {
      in_thread([&] {
        enter();
        function();
      });
    } else {
      std::optional<decltype(function())> result;
      in_thread([&] {
        enter();
        result.emplace(function());
      });
      return std::move(*result);
    }
  }

  /// Whether a shell command succeeds inside.
  bool succeeds(const std::string& command) const {
    return run([&] { return std::system(command.c_str()) == 0; });
  }

  /// Runs a shell command inside, which must succeed.
  void shell(const std::string& command) const {
    if (!succeeds(command)) throw std::runtime_error("failed: " + command);
  }

 private:
  void enter() const {
    if (::setns(fd_.get(), CLONE_NEWNET) < 0) {
      throw std::system_error(errno, std::generic_category(), "setns");
    }
  }

  template <class Function>
  static void in_thread(Function function) {
    std::exception_ptr thrown;
    std::thread([&] {
      try {
        function();
      } catch (...) {
        thrown = std::current_exception();
      }
    }).join();
    if (thrown) std::rethrow_exception(thrown);
  }

  UniqueFd fd_;
};

}  // namespace homeport::overlay
