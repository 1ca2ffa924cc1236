#include "target_process.h"

#include "overlay/read_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>

namespace homeport::migration {
namespace {

constexpr std::uint32_t kEndOfPages = UINT32_MAX;

struct WriteCommand {
  std::uint32_t page;
  std::uint32_t value;
};

void require(bool good, const char* what) {
  if (!good) throw std::runtime_error(what);
}

// Waits for a condition that another process brings about.
void await(const std::function<bool()>& condition, const char* what) {
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    require(std::chrono::steady_clock::now() < deadline, what);
    std::this_thread::yield();
  }
}

}  // namespace

TargetProcess::TargetProcess(std::uint64_t pages, const Workload& workload) {
  std::uint64_t size = pages * kPageSize;
  void* control = ::mmap(nullptr, sizeof(TargetControl), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  require(control != MAP_FAILED, "mmap");
  control_ = new (control) TargetControl;
  file_.reset(::memfd_create("guest", MFD_CLOEXEC));
  require(::ftruncate(file_.get(), static_cast<off_t>(size)) == 0, "ftruncate");
  auto mapped = GuestMemory::map(file_.get(), 0, size, Access::write);
  require(mapped.has_value(), "map");
  memory_ = std::make_unique<GuestMemory>(std::move(*mapped));
  int commands[2];
  int answers[2];
  require(::pipe2(commands, O_CLOEXEC) == 0 && ::pipe2(answers, O_CLOEXEC) == 0, "pipe2");

  pid_ = ::fork();
  require(pid_ >= 0, "fork");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close(commands[1]);
    ::close(answers[0]);
    void* own = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
    if (own == MAP_FAILED) ::_exit(99);
    control_->address = reinterpret_cast<std::uint64_t>(own);
    ::_exit(workload({{static_cast<std::byte*>(own), size}, *control_, commands[0], answers[1]}));
  }
  ::close(commands[0]);
  ::close(answers[1]);
  commands_.reset(commands[1]);
  answers_.reset(answers[0]);
  await([&] { return control_->address != 0; }, "the target does not start");
}

TargetProcess::~TargetProcess() {
  kill();
  ::munmap(control_, sizeof *control_);
}

std::vector<TrackedBlock> TargetProcess::blocks() const {
  return {{control_->address, memory_->bytes().size()}};
}

int TargetProcess::finish() {
  control_->stop = true;
  commands_.reset();
  int status = 0;
  if (::waitpid(pid_, &status, 0) != pid_) return -1;
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void TargetProcess::kill() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void TargetProcess::await_progress(std::uint64_t times) const {
  std::uint64_t wanted = control_->progress + times;
  await([&] { return control_->progress >= wanted; }, "the target makes no progress");
}

bool TargetProcess::traced() const {
  // Whichever of its threads it is.
  std::filesystem::directory_iterator threads(fmt::format("/proc/{}/task", pid_));
  return std::any_of(begin(threads), end(threads), [](const auto& thread) {
    std::string status = overlay::read_proc(thread.path() / "status");
    return !status.empty() && status.find("TracerPid:\t0\n") == std::string::npos;
  });
}

void TargetProcess::await_traced() const {
  await([&] { return traced(); }, "nobody traces the target");
}

void TargetProcess::await_untraced() const {
  await([&] { return !traced(); }, "the target stays traced");
}

void TargetProcess::await_state(char state) const {
  await(
      [&] {
        std::string stat = overlay::read_proc(fmt::format("/proc/{}/stat", pid_));
        std::size_t name_end = stat.rfind(") ");
        return name_end != std::string::npos && stat[name_end + 2] == state;
      },
      "the target does not get into the expected state");
}

std::size_t TargetProcess::open_descriptors() const {
  std::filesystem::directory_iterator descriptors(fmt::format("/proc/{}/fd", pid_));
  return static_cast<std::size_t>(std::distance(begin(descriptors), end(descriptors)));
}

int write_on_command(TargetView view) {
  WriteCommand command{};
  while (::read(view.commands, &command, sizeof command) == sizeof command) {
    if (command.page == kEndOfPages) {
      if (::write(view.answers, "k", 1) != 1) return 1;
    } else {
      view.memory[command.page * kPageSize + command.page % kPageSize] =
          static_cast<std::byte>(command.value);
    }
  }
  return 0;
}

void write_pages(const TargetProcess& target, const std::vector<std::uint32_t>& pages,
                 std::uint8_t value) {
  auto send = [&](WriteCommand command) {
    require(::write(target.commands(), &command, sizeof command) == sizeof command, "write");
  };
  for (std::uint32_t page : pages) send({page, value});
  send({kEndOfPages, 0});
  char answer = 0;
  require(::read(target.answers(), &answer, 1) == 1, "read");
}

}  // namespace homeport::migration
