#include "tests/bench/cutover/moving_flow.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "tests/lab/failure.h"

namespace homeport::lab {
namespace fs = std::filesystem;
namespace {

std::uint64_t nanoseconds(Clock::time_point time) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count());
}

}  // namespace

MovingFlow::MovingFlow(const Containers& containers)
    : directory_(fs::temp_directory_path() / own_name("flow")) {
  fs::create_directories(directory_);
  cleanup_.add("directory " + directory_.string(), [this] { fs::remove_all(directory_); });
  const fs::path fifo = directory_ / "commands";
  if (mkfifo(fifo.c_str(), 0600) != 0)
    throw LabFailure(fifo.string() + ": " + std::strerror(errno));
  // Both ends, so that neither waits for the other nor sees it end.
  commands_ = overlay::UniqueFd(open(fifo.c_str(), O_RDWR | O_CLOEXEC));
  const fs::path state = directory_ / "state";
  const overlay::UniqueFd file(open(state.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  void* memory = MAP_FAILED;
  if (ftruncate(file.get(), sizeof(FlowState)) == 0) {
    memory = mmap(nullptr, sizeof(FlowState), PROT_READ, MAP_SHARED, file.get(), 0);
  }
  if (memory == MAP_FAILED) throw LabFailure(state.string() + ": " + std::strerror(errno));
  cleanup_.add("the flow's state", [memory] { munmap(memory, sizeof(FlowState)); });
  state_ = static_cast<FlowState*>(memory);
  process_.emplace(
      Command{HOMEPORT_CUTOVER_FLOW, containers.sender().name(), containers.app(Place::a).name(),
              containers.app(Place::b).name(), Containers::kAppMac, Containers::kAppIp,
              std::to_string(kPerSecond), fifo, state, directory_ / "record"},
      ProcessOptions{.log = directory_ / "log"});
  wait_taken(1);
}

void MovingFlow::command(FlowCommand what, Place place) {
  const char bytes[2] = {static_cast<char>(what), place == Place::a ? 'a' : 'b'};
  if (write(commands_.get(), bytes, sizeof bytes) != sizeof bytes) {
    throw LabFailure(std::string("the flow's commands: ") + std::strerror(errno));
  }
}

void MovingFlow::prepare(Place place) {
  command(FlowCommand::prepare, place);
  wait_for(state_->prepared, ++prepared_, "the application to be prepared");
}

void MovingFlow::take_over(Place place) {
  command(FlowCommand::go, place);
  ++switches_;
}

void MovingFlow::take_over_with_traffic(Place place) {
  command(FlowCommand::go_with_traffic, place);
  ++switches_;
}

void MovingFlow::wait_taken_over() {
  wait_for(state_->switches, switches_, "the application to take over");
}

void MovingFlow::wait_taken(std::uint64_t count) {
  wait_for(state_->taken, state_->taken + count, "datagrams to arrive");
}

void MovingFlow::wait_for(const std::atomic<std::uint64_t>& counter, std::uint64_t value,
                          const char* what) {
  wait_until(
      [&] {
        if (!process_->running()) throw LabFailure("the flow has ended\n" + process_->log_tail(5));
        return counter >= value;
      },
      30s, what,
      [&] {
        return std::to_string(state_->sent) + " datagrams were sent, " +
               std::to_string(state_->taken) + " taken";
      });
}

void MovingFlow::finish() {
  process_->send_signal(SIGTERM);
  if (process_->wait(60s) != 0) throw LabFailure("the flow failed\n" + process_->log_tail(5));
  std::ifstream file(directory_ / "record", std::ios::binary);
  const auto read_into = [&](void* to, std::size_t bytes) {
    file.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes));
  };
  FlowRecordHeader header;
  read_into(&header, sizeof header);
  sent_.resize(header.sent);
  takes_.resize(header.taken);
  read_into(sent_.data(), sent_.size() * sizeof sent_[0]);
  read_into(takes_.data(), takes_.size() * sizeof takes_[0]);
  if (!file) throw LabFailure("the flow's record is incomplete");
}

FlowWindow MovingFlow::window(Clock::time_point from, Clock::time_point to) const {
  return flow_window(sent_, takes_, nanoseconds(from), nanoseconds(to));
}

}  // namespace homeport::lab
