// Captures the memory of a real QEMU with no more than its firmware in it. Needs root, Linux 6.7
// and qemu-system-x86_64.
#include "migration/memory/dirty_tracker.h"
#include "migration/memory/guest_memory.h"
#include "migration/memory/page_ledger.h"
#include "migration/memory/page_store.h"
#include "migration/memory/proc_maps.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <istream>
#include <string>
#include <thread>
#include <vector>

extern char** environ;

namespace homeport::migration {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::uint64_t kSize = 64u << 20;

class QemuCapture : public testing::Test {
 protected:
  void SetUp() override {
    std::string base = fmt::format("/dev/shm/homeport-capture-test-{}", ::getpid());
    ram_ = base + ".ram";
    socket_ = base + ".qmp";
    std::vector<std::string> words{
        "qemu-system-x86_64", "-accel", "tcg", "-nodefaults", "-display", "none",
        // As libvirt starts it.
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-machine", "pc,memory-backend=ram", "-m", "64", "-object",
        fmt::format("memory-backend-file,id=ram,size=64M,share=on,mem-path={}", ram_), "-qmp",
        fmt::format("unix:{},server=on,wait=off", socket_)};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    ASSERT_EQ(::posix_spawnp(&pid_, arguments[0], nullptr, nullptr, arguments.data(), environ), 0);
    auto deadline = Clock::now() + std::chrono::seconds(20);
    boost::system::error_code failed = boost::asio::error::not_found;
    while (failed) {
      ASSERT_LT(Clock::now(), deadline) << "QEMU does not start";
      ASSERT_EQ(::waitpid(pid_, nullptr, WNOHANG), 0) << "QEMU has ended";
      monitor_.close();
      monitor_.connect({socket_}, failed);
      std::this_thread::yield();
    }
    EXPECT_NE(read_line().find("QMP"), std::string::npos);
    execute("qmp_capabilities");
  }
  void TearDown() override {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::unlink(ram_.c_str());
    ::unlink(socket_.c_str());
  }

  std::string read_line() {
    boost::asio::read_until(monitor_, buffer_, '\n');
    std::istream stream(&buffer_);
    std::string line;
    std::getline(stream, line);
    return line;
  }
  // The answer's text; events that come before it are passed over.
  std::string execute(const std::string& command) {
    boost::asio::write(monitor_,
                       boost::asio::buffer(fmt::format("{{\"execute\": \"{}\"}}\n", command)));
    for (;;) {
      std::string line = read_line();
      EXPECT_EQ(line.find("\"error\""), std::string::npos) << line;
      if (line.find("\"event\"") == std::string::npos) return line;
    }
  }
  bool runs() { return execute("query-status").find("\"running\": true") != std::string::npos; }

  std::vector<TrackedBlock> blocks() const {
    auto mappings = read_maps(pid_);
    EXPECT_TRUE(mappings);
    std::uint64_t start = UINT64_MAX;
    std::uint64_t end = 0;
    for (const Mapping& mapping : *mappings) {
      if (mapping.path != ram_) continue;
      start = std::min(start, mapping.start);
      end = std::max(end, mapping.end);
    }
    EXPECT_EQ(end - start, kSize);
    return {{start, kSize}};
  }

  std::string ram_, socket_;
  pid_t pid_ = -1;
  boost::asio::io_context context_;
  boost::asio::local::stream_protocol::socket monitor_{context_};
  boost::asio::streambuf buffer_;
};

TEST_F(QemuCapture, AttachScanDetachAgainAndAgain) {
  Clock::duration attaching{}, scanning{};
  constexpr int kCycles = 20;
  for (int cycle = 0; cycle < kCycles; ++cycle) {
    auto began = Clock::now();
    auto tracker = DirtyTracker::attach(pid_, blocks());
    attaching += Clock::now() - began;
    ASSERT_TRUE(tracker) << tracker.error().message;
    PageSet pages({kSize / kPageSize});
    began = Clock::now();
    auto scanned = tracker->scan(pages);
    scanning += Clock::now() - began;
    ASSERT_TRUE(scanned) << scanned.error().message;
    EXPECT_EQ(pages.count(), kSize / kPageSize);
    EXPECT_TRUE(runs());
  }
  EXPECT_TRUE(runs());
  auto microseconds = [](auto time) {
    return static_cast<int>(std::chrono::duration_cast<std::chrono::microseconds>(time).count() /
                            kCycles);
  };
  RecordProperty("attach_microseconds", microseconds(attaching));
  RecordProperty("full_scan_microseconds", microseconds(scanning));
}

TEST_F(QemuCapture, CopiesTheMemoryOfARunningGuest) {
  overlay::UniqueFd file(::open(ram_.c_str(), O_RDWR | O_CLOEXEC));
  auto memory = GuestMemory::map(file.get(), 0, kSize, Access::read);
  ASSERT_TRUE(memory) << memory.error().message;
  auto tracker = DirtyTracker::attach(pid_, blocks());
  ASSERT_TRUE(tracker) << tracker.error().message;
  PageLedger ledger({memory->bytes()}, {});
  std::vector<std::byte> copy(kSize, std::byte{0xee});
  PageStore store({{copy, {}}});
  auto scan = [&] {
    PageSet written = ledger.empty_set();
    EXPECT_TRUE(tracker->scan(written));
    ledger.note_scan(written);
    return written.count();
  };
  auto send_round = [&] {
    ledger.begin_round();
    while (auto batch = ledger.next_batch()) {
      ASSERT_TRUE(store.apply(batch->header, batch->payload));
    }
  };
  scan();
  PageSet holes = ledger.empty_set();
  ASSERT_TRUE(memory->find_holes(0, holes));
  ledger.note_holes(holes);
  EXPECT_GT(holes.count(), 0u);
  send_round();
  // The firmware starts anew, and writes.
  execute("system_reset");
  std::uint64_t written = 0;
  auto deadline = Clock::now() + std::chrono::seconds(20);
  while (written < 10) {
    ASSERT_LT(Clock::now(), deadline) << "the guest writes nothing";
    written += scan();
    send_round();
  }
  EXPECT_TRUE(runs());
  execute("stop");
  scan();
  send_round();
  EXPECT_EQ(ledger.pending_pages(), 0u);
  EXPECT_EQ(store.missing_pages(), 0u);
  EXPECT_TRUE(std::equal(copy.begin(), copy.end(), memory->bytes().begin()));
  execute("cont");
  EXPECT_TRUE(runs());
}

}  // namespace
}  // namespace homeport::migration
