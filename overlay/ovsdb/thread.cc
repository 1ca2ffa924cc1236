#include "overlay/ovsdb/thread.h"

#include "overlay/log/log.h"
#include "overlay/ovsdb/shim.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <future>
#include <optional>
#include <string_view>
#include <utility>

namespace homeport::overlay::ovsdb {

namespace {

/// What belongs to the process: the library is initialised once, however often the thread comes and
/// goes.
struct Process {
  std::mutex mutex;
  std::weak_ptr<OvsThread> thread;
  int log_fd =
      -1;  ///< A memfd: the library can log to nothing but files, and a pipe could fill up.
  std::optional<TlsFiles> tls;
  std::string complaint;
};

Process& process() {
  static Process instance;
  return instance;
}

[[noreturn]] void fail(int error, const std::string& message) {
  throw boost::system::system_error(
      boost::system::error_code(error, boost::system::generic_category()), message);
}

/// Whether a line of the library says why there is no connection: its module for reconnections also
/// says what it does next, and others complain of other things, a slow poll loop among them.
bool says_why(std::string_view module, std::string_view level, std::string_view message) {
  if (module == "reconnect") {
    for (std::string_view sign : {" attempt failed", " connection closed", " connection dropped",
                                  " no response", " error "}) {
      if (message.find(sign) != message.npos) return true;
    }
    return false;
  }
  const bool complains = level != "INFO" && level != "DBG";
  return complains && (module == "stream_ssl" || module == "stream_tcp" || module == "jsonrpc" ||
                       module == "socket_util" || module == "ovsdb_cs");
}

/// The library's own words about connections come and go are the session's to tell: everything
/// arrives one level lower than the library thinks of it.
void forward(std::string_view line) {
  auto first = line.find('|');
  auto level = line.substr(0, first);
  auto text = first == line.npos ? line : line.substr(first + 1);
  auto module = text.substr(0, text.find('|'));
  auto message = text.substr(std::min(module.size() + 1, text.size()));
  if (says_why(module, level, message)) {
    Process& self = process();
    std::lock_guard lock(self.mutex);
    self.complaint = message;
  }
  if (level == "EMER" || level == "ERR") {
    log::warn("ovs: {}", text);
  } else if (level == "WARN") {
    log::info("ovs: {}", text);
  } else {
    log::debug("ovs: {}", text);
  }
}

}  // namespace

std::string OvsThread::complaint() {
  Process& self = process();
  std::lock_guard lock(self.mutex);
  return self.complaint;
}

void OvsThread::forget_complaint() {
  Process& self = process();
  std::lock_guard lock(self.mutex);
  self.complaint.clear();
}

std::shared_ptr<OvsThread> OvsThread::get() {
  Process& self = process();
  std::lock_guard lock(self.mutex);
  if (auto thread = self.thread.lock()) return thread;
  if (self.log_fd < 0) {
    self.log_fd = memfd_create("ovs-log", MFD_CLOEXEC);
    if (self.log_fd < 0) fail(errno, "cannot make a memfd for the OVS library's log");
    hp_ovs_init(fmt::format("/proc/self/fd/{}", self.log_fd).c_str());
  }
  std::shared_ptr<OvsThread> thread(new OvsThread);
  self.thread = thread;
  return thread;
}

OvsThread::OvsThread() {
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd_ < 0) fail(errno, "cannot make an eventfd for the OVS thread");
  // The process's signals are for its other threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { loop(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

OvsThread::~OvsThread() {
  post([this] { stop_ = true; });
  thread_.join();
  close(wake_fd_);
}

void OvsThread::use_tls(const TlsFiles& files) {
  for (const auto& file : {files.private_key, files.certificate, files.ca_certificate}) {
    if (access(file.c_str(), R_OK) != 0) {
      fail(errno,
           fmt::format("cannot read {}, needed for the TLS connection to the control database",
                       file.string()));
    }
  }
  Process& self = process();
  std::lock_guard lock(self.mutex);
  if (self.tls && *self.tls != files) {
    fail(EINVAL,
         fmt::format("this process connects to databases as {} already, and the OVS library keeps "
                     "one TLS identity per process: use the same files",
                     self.tls->certificate.string()));
  }
  if (!self.tls)
    hp_ovs_set_tls(files.private_key.c_str(), files.certificate.c_str(),
                   files.ca_certificate.c_str());
  self.tls = files;
}

void OvsThread::post(std::function<void()> task) {
  {
    std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  // Fails only when the counter is full, and then the thread is awake.
  eventfd_write(wake_fd_, 1);
}

void OvsThread::call(const std::function<void()>& task) {
  std::packaged_task<void()> packaged([&] { task(); });
  post([&] { packaged(); });
  packaged.get_future().get();
}

void OvsThread::add(std::shared_ptr<LoopClient> client) {
  post([this, client = std::move(client)] { clients_.push_back(client); });
}

void OvsThread::remove(const std::shared_ptr<LoopClient>& client) {
  call([&] {
    client->close();
    std::erase(clients_, client);
  });
}

void OvsThread::run_tasks() {
  eventfd_t count;
  eventfd_read(wake_fd_, &count);
  std::vector<std::function<void()>> tasks;
  {
    std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
  }
  for (auto& task : tasks) task();
}

void OvsThread::drain_log() {
  int fd = process().log_fd;
  off_t offset = 0;
  char buffer[4096];
  while (true) {
    ssize_t count = pread(fd, buffer, sizeof buffer, offset);
    if (count <= 0) break;
    offset += count;
    log_rest_.append(buffer, static_cast<std::size_t>(count));
  }
  // The library appends, so that it goes on at the new end.
  if (offset == 0 || ftruncate(fd, 0) != 0) return;
  std::size_t begin = 0;
  for (auto end = log_rest_.find('\n'); end != log_rest_.npos; end = log_rest_.find('\n', begin)) {
    forward(std::string_view(log_rest_).substr(begin, end - begin));
    begin = end + 1;
  }
  log_rest_.erase(0, begin);
}

void OvsThread::loop() {
  pthread_setname_np(pthread_self(), "ovs");
  while (true) {
    run_tasks();
    if (stop_) break;
    bool more = false;
    for (const auto& client : clients_) more = client->run() || more;
    drain_log();
    for (const auto& client : clients_) client->wait();
    hp_ovs_wait_readable(wake_fd_);
    if (more) hp_ovs_wake_at_once();
    hp_ovs_block();
  }
  drain_log();
}

}  // namespace homeport::overlay::ovsdb
