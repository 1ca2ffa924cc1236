#include "tests/lab/namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <exception>
#include <filesystem>
#include <thread>
#include <vector>

#include "tests/lab/failure.h"
#include "tests/lab/process.h"
#include "tests/lab/wait.h"

namespace homeport::lab {
namespace fs = std::filesystem;
namespace {

/// Processes whose network namespace is the one `fd` refers to.
std::vector<pid_t> processes_inside(int fd) {
  struct stat wanted {};
  fstat(fd, &wanted);
  std::vector<pid_t> found;
  std::error_code gone;  // processes come and go while we look
  for (const auto& entry : fs::directory_iterator("/proc", gone)) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error != std::errc() || end != name.data() + name.size() || pid == getpid()) continue;
    struct stat theirs {};
    if (stat((entry.path() / "ns/net").c_str(), &theirs) == 0 && theirs.st_ino == wanted.st_ino &&
        theirs.st_dev == wanted.st_dev) {
      found.push_back(pid);
    }
  }
  return found;
}

}  // namespace

Namespace::Namespace(std::string name) : name_(std::move(name)) {
  run_checked({"ip", "netns", "add", name_});
  cleanup_.add("namespace " + name_, [this] { run_checked({"ip", "netns", "del", name_}); });
  fd_ = open(("/run/netns/" + name_).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) throw LabFailure("cannot open namespace " + name_ + ": " + std::strerror(errno));
  cleanup_.add("processes in " + name_, [this] {
    kill_processes();
    close(fd_);
  });
  ip("link set lo up");
  // Of the devices that are made from now on.
  const unsigned processors = std::clamp(std::thread::hardware_concurrency(), 1u, 32u);
  set_sysctl("net/core/rps_default_mask", fmt::format("{:x}", (1ULL << processors) - 1));
  try {
    set_sysctl("net/ipv4/tcp_congestion_control", "cubic");
  } catch (const LabFailure&) {
    // Where cubic is not among the machine's tcp_allowed_congestion_control; reno always is.
    set_sysctl("net/ipv4/tcp_congestion_control", "reno");
  }
}

void Namespace::run(const std::function<void()>& work) const {
  std::exception_ptr failure;
  std::thread thread([&] {
    try {
      if (setns(fd_, CLONE_NEWNET) != 0) {
        throw LabFailure("cannot enter namespace " + name_ + ": " + std::strerror(errno));
      }
      work();
    } catch (...) {
      failure = std::current_exception();
    }
  });
  thread.join();
  if (failure) std::rethrow_exception(failure);
}

void Namespace::set_sysctl(std::string_view key, std::string_view value) const {
  run([&] {
    const std::string path = "/proc/sys/" + std::string(key);
    const int file = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    const bool written =
        file >= 0 && write(file, value.data(), value.size()) == static_cast<ssize_t>(value.size());
    const int error = errno;
    if (file >= 0) close(file);
    if (!written) throw LabFailure(path + " in " + name_ + ": " + std::strerror(error));
  });
}

std::string Namespace::ip(const std::string& arguments) const {
  return run_checked(words("ip -n " + name_ + " " + arguments));
}

std::string Namespace::tc(const std::string& arguments) const {
  return run_checked(words("tc -n " + name_ + " " + arguments));
}

void Namespace::kill_processes() const {
  wait_until(
      [&] {
        const auto inside = processes_inside(fd_);
        for (pid_t pid : inside) ::kill(pid, SIGKILL);
        return inside.empty();
      },
      10s, "the end of the processes in " + name_);
}

}  // namespace homeport::lab
