#include "migration/vm/qemu_driver.h"

#include "migration/vm/deadline.h"
#include "migration/vm/memory_file.h"
#include "migration/vm/process.h"
#include "overlay/directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstring>
#include <optional>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77  // Linux 6.5, include/uapi/asm-generic/socket.h
#endif

namespace homeport::migration {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
namespace fs = std::filesystem;
using policy::make_error;
using policy::Result;

namespace {

constexpr std::uint64_t kMiB = 1u << 20;
constexpr std::uint64_t kMaxMemoryMib = 1u << 24;  // 16 TiB

/// 0711: a VM's user may pass through to its own files, and list nothing.
Result<void> make_passage(const fs::path& directory) {
  std::error_code failed;
  if (!fs::create_directories(directory, failed)) {
    if (failed) return policy::errno_error("cannot create " + directory.string(), failed.value());
    return {};
  }
  if (::chmod(directory.c_str(), 0711) < 0) {
    return policy::errno_error("cannot set the mode of " + directory.string());
  }
  return {};
}

Result<overlay::UniqueFd> enter_cgroup(const fs::path& parent, const std::string& name) {
  fs::path existing = parent;
  struct statfs kind {};
  while (::statfs(existing.c_str(), &kind) < 0 && existing.has_relative_path()) {
    existing = existing.parent_path();
  }
  if (kind.f_type != CGROUP2_SUPER_MAGIC) {
    return make_error(
        errc::invalid_argument,
        fmt::format("{} is not in a cgroup v2 hierarchy; set directories.guest_cgroup to a "
                    "folder below where cgroup2 is mounted, such as "
                    "/sys/fs/cgroup/unified/homeport-guests",
                    parent.string()));
  }
  std::error_code failed;
  fs::create_directories(parent / name, failed);
  if (failed) {
    return policy::errno_error("cannot create the cgroup " + (parent / name).string(),
                               failed.value());
  }
  fs::path procs = parent / name / "cgroup.procs";
  overlay::UniqueFd file(::open(procs.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) return policy::errno_error("cannot open " + procs.string());
  return file;
}

sockaddr_un socket_address(const fs::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(),
              std::min(path.native().size(), sizeof(address.sun_path) - 1));
  return address;
}

Result<overlay::UniqueFd> make_socket() {
  overlay::UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return policy::errno_error("cannot make a unix socket");
  return socket;
}

Result<overlay::UniqueFd> bind_monitor(const fs::path& path) {
  if (path.native().size() >= sizeof(sockaddr_un::sun_path)) {
    return make_error(
        errc::filename_too_long,
        path.string() + " is too long for a unix socket; use a shorter runtime folder");
  }
  auto socket = make_socket();
  if (!socket) return socket;
  sockaddr_un address = socket_address(path);
  if (::bind(socket->get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0) {
    return policy::errno_error("cannot make the monitor's socket " + path.string());
  }
  return socket;
}

/// Whether a process still listens on the socket.
bool answers(const fs::path& path) {
  auto socket = make_socket();
  sockaddr_un address = socket_address(path);
  return socket &&
         (::connect(socket->get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 ||
          errno == EAGAIN);
}

/// Ends the process and removes the files of a launch that does not come to its end.
class Undo {
 public:
  Undo(QemuDriver driver, std::string name) : driver_(std::move(driver)), name_(std::move(name)) {}
  Undo(const Undo&) = delete;
  Undo& operator=(const Undo&) = delete;
  ~Undo() {
    if (!armed_) return;
    if (pidfd) {
      send_kill(pidfd.get());
      // A killed process is gone within milliseconds, and must be before its files go.
      ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd.get()), nullptr, WEXITED);
    }
    static_cast<void>(driver_.remove(name_));
  }
  void disarm() { armed_ = false; }

  overlay::UniqueFd pidfd;

 private:
  QemuDriver driver_;
  std::string name_;
  bool armed_ = true;
};

Result<void> give_to(const Credentials& owner, const fs::path& path) {
  if (::lchown(path.c_str(), owner.uid, owner.gid) < 0) {
    return policy::errno_error("cannot give " + path.string() + " to the VM's user");
  }
  return {};
}

}  // namespace

QemuDriver::QemuDriver(QemuDriverOptions options) : options_(std::move(options)) {}

fs::path QemuDriver::qmp_socket(const std::string& name) const {
  return options_.runtime_dir / name / "qmp.sock";
}

fs::path QemuDriver::log_file(const std::string& name) const {
  return options_.runtime_dir / name / "output.log";
}

fs::path QemuDriver::memory_file(const std::string& name, policy::Generation generation) const {
  return options_.memory_dir / fmt::format("{}-{}{}", name, generation, kMemoryFileSuffix);
}

asio::awaitable<Result<Vm>> QemuDriver::launch(VmSpec spec, LaunchMode mode) {
  const std::string& name = spec.name;
  if (!is_plain_name(name)) {
    co_return make_error(errc::invalid_argument,
                         fmt::format("\"{}\" is not an application's name that files can have: use "
                                     "letters, digits, '.', '-' and '_'",
                                     name));
  }
  if (spec.memory_mib == 0 || spec.memory_mib > kMaxMemoryMib || spec.vcpus == 0) {
    co_return make_error(errc::invalid_argument,
                         fmt::format("{} needs memory and CPUs, not {} MiB and {}", name,
                                     spec.memory_mib, spec.vcpus));
  }
  std::string context = "cannot start " + name;
  auto profile = load_launch_profile(options_.profile_dir, spec.launch_profile);
  if (!profile) co_return policy::with_context(context, profile.error());
  LaunchValues values{name,
                      memory_file(name, spec.generation),
                      spec.memory_mib,
                      spec.vcpus,
                      qmp_socket(name),
                      options_.runtime_dir / name,
                      spec.nics};
  auto arguments = expand(*profile, values);
  if (!arguments) co_return policy::with_context(context, arguments.error());
  std::optional<Credentials> credentials;
  if (!profile->user.empty() || !profile->group.empty()) {
    auto found = find_credentials(profile->user, profile->group);
    if (!found) co_return policy::with_context(context, found.error());
    credentials = std::move(*found);
  }

  // Removes what an earlier VM of that name left; refuses when it still runs.
  if (auto removed = remove(name); !removed) {
    co_return policy::with_context(context, removed.error());
  }
  Undo undo(*this, name);
  for (const fs::path& directory : {options_.runtime_dir, options_.memory_dir}) {
    if (auto made = make_passage(directory); !made) {
      co_return policy::with_context(context, made.error());
    }
  }
  if (::mkdir(values.runtime_dir.c_str(), 0700) < 0) {
    co_return policy::errno_error(context + ": cannot create " + values.runtime_dir.string());
  }
  auto memory = create_memory_file(values.memory_path, spec.memory_mib * kMiB);
  if (!memory) co_return policy::with_context(context, memory.error());
  auto monitor = bind_monitor(values.qmp);
  if (!monitor) co_return policy::with_context(context, monitor.error());
  fs::path log = log_file(name);
  overlay::UniqueFd output(
      ::open(log.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600));
  if (!output) co_return policy::errno_error(context + ": cannot create " + log.string());
  if (credentials) {
    for (const fs::path& path : {values.memory_path, values.runtime_dir, values.qmp}) {
      if (auto given = give_to(*credentials, path); !given) {
        co_return policy::with_context(context, given.error());
      }
    }
  }

  ProcessSpec process;
  process.program = profile->program;
  process.arguments = std::move(*arguments);
  std::string chardev =
      fmt::format("socket,id=homeport-qmp,fd={},server=on,wait=off", monitor->get());
  for (const std::string& argument :
       std::vector<std::string>{"-name", "guest=" + name, "-S", "-chardev", chardev, "-mon",
                                "chardev=homeport-qmp,mode=control"}) {
    process.arguments.push_back(argument);
  }
  if (mode == LaunchMode::incoming) {
    process.arguments.push_back("-incoming");
    process.arguments.push_back("defer");
  }
  process.environment.push_back(
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  for (const auto& [variable, value] : profile->environment) {
    process.environment.push_back(variable + "=" + value);
  }
  process.output = output.get();
  process.listen = monitor->get();
  process.inherited.push_back(monitor->get());
  for (const LaunchNic& nic : spec.nics) {
    if (nic.tap_fd >= 0) process.inherited.push_back(nic.tap_fd);
  }
  process.credentials = credentials;
  overlay::UniqueFd cgroup;
  if (!options_.cgroup_dir.empty()) {
    auto entered = enter_cgroup(options_.cgroup_dir, name);
    if (!entered) co_return policy::with_context(context, entered.error());
    cgroup = std::move(*entered);
    process.cgroup_procs = cgroup.get();
  }

  auto started = start_process(process);
  if (!started) co_return policy::with_context(context, started.error());
  undo.pidfd.reset(::fcntl(started->pidfd.get(), F_DUPFD_CLOEXEC, 0));
  monitor->reset();  // or a client would wait for a program that has ended

  QmpOptions timeouts;
  timeouts.connect_timeout = options_.start_timeout;
  auto qmp = co_await Qmp::connect(values.qmp, timeouts);
  if (!qmp) {
    std::string ended;
    if (qmp.error().code == errc::connection_reset ||
        qmp.error().code == errc::connection_refused) {
      // Its sockets go a moment before the process does.
      co_await with_deadline(wait_gone(started->pidfd.get()), options_.start_timeout,
                             "still there");
      ended = reap(started->pidfd.get());
    }
    std::string words = log_tail(log);
    co_return make_error(
        ended.empty() ? errc::timed_out : errc::io_error,
        fmt::format("{}: {} {}; its last words: {}", context, profile->program.string(),
                    ended.empty() ? "did not open its monitor: " + qmp.error().message
                                  : "ended at once (" + ended + ")",
                    words.empty() ? "none" : words));
  }
  undo.disarm();
  co_return Vm(name, std::move(*qmp), started->pid, std::move(started->pidfd), log);
}

asio::awaitable<Result<Vm>> QemuDriver::adopt(std::string name) {
  fs::path socket = qmp_socket(name);
  co_return co_await adopt(std::move(name), std::move(socket));
}

asio::awaitable<Result<Vm>> QemuDriver::adopt(std::string name, fs::path qmp_socket) {
  auto qmp = co_await Qmp::connect(qmp_socket);
  if (!qmp) co_return policy::with_context("cannot take over " + name, qmp.error());
  ucred peer{};
  socklen_t size = sizeof(peer);
  int pidfd = -1;
  socklen_t pidfd_size = sizeof(pidfd);
  if (::getsockopt(qmp->native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ||
      ::getsockopt(qmp->native_handle(), SOL_SOCKET, SO_PEERPIDFD, &pidfd, &pidfd_size) < 0) {
    co_return policy::errno_error("cannot take over " + name + ": whose monitor " +
                                  qmp_socket.string() + " is");
  }
  overlay::UniqueFd process(pidfd);
  if (is_gone(process.get())) {
    co_return make_error(errc::no_such_process,
                         fmt::format("cannot take over {}: process {}, which made the monitor {}, "
                                     "is gone; let QEMU itself open a monitor (-qmp unix:...)",
                                     name, peer.pid, qmp_socket.string()));
  }
  fs::path log = qmp_socket == this->qmp_socket(name) ? log_file(name) : fs::path();
  co_return Vm(std::move(name), std::move(*qmp), peer.pid, std::move(process), std::move(log));
}

std::vector<std::string> QemuDriver::known() const {
  std::vector<std::string> names;
  std::error_code failed;
  for (const fs::path& entry : overlay::entries_of(options_.runtime_dir, failed)) {
    std::string name = entry.filename();
    if (is_plain_name(name)) names.push_back(std::move(name));
  }
  std::ranges::sort(names);
  return names;
}

Result<void> QemuDriver::remove(const std::string& name) {
  if (!is_plain_name(name)) {
    return make_error(errc::invalid_argument, "no VM can have the name \"" + name + "\"");
  }
  if (answers(qmp_socket(name))) {
    return make_error(errc::device_or_resource_busy,
                      fmt::format("a VM of the name {} is running; its monitor is {}", name,
                                  qmp_socket(name).string()));
  }
  std::error_code failed;
  fs::remove_all(options_.runtime_dir / name, failed);
  if (failed) {
    return policy::errno_error("cannot remove the runtime folder of " + name, failed.value());
  }
  std::error_code absent;
  for (const fs::path& entry : overlay::entries_of(options_.memory_dir, absent)) {
    // <name>-<generation>.ram
    std::string file = entry.filename();
    if (!file.starts_with(name + "-") || !file.ends_with(kMemoryFileSuffix)) continue;
    std::string_view generation = std::string_view(file).substr(name.size() + 1);
    generation.remove_suffix(std::strlen(kMemoryFileSuffix));
    if (generation.find_first_not_of("0123456789") != std::string_view::npos) continue;
    fs::remove(entry, failed);
    if (failed) {
      return policy::errno_error("cannot remove " + entry.string(), failed.value());
    }
  }
  // One that is in use, or not there, is left.
  if (!options_.cgroup_dir.empty()) ::rmdir((options_.cgroup_dir / name).c_str());
  return {};
}

}  // namespace homeport::migration
