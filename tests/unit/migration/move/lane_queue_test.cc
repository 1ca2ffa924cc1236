// What a lane does to others whose packets pass the same narrow link, and that it gets through
// without such manners when a guest stands still for it.
#include "migration/move/lane_receiver.h"
#include "migration/move/lane_set.h"

#include "overlay/link/unique_fd.h"
#include "tests/unit/overlay/channel/test_peers.h"
#include "tests/unit/overlay/link/net_namespace.h"

#include <gmock/gmock.h>
#include <boost/asio/ip/udp.hpp>

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <random>
#include <set>
#include <thread>

namespace homeport::migration {
namespace {

namespace asio = boost::asio;
using asio::ip::make_address;
using asio::ip::tcp;
using asio::ip::udp;
using overlay::NetNamespace;
using overlay::UniqueFd;
using policy::Result;
using testing::ElementsAre;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Millis = std::chrono::duration<double, std::milli>;

constexpr std::uint64_t kPages = 6144;  // 24 MiB, two seconds
constexpr double kLinkBits = 100e6;     // per second
constexpr auto kFullQueue = 400ms;      // what the queue before the narrow link can hold

/// Asks again and again, as an application does, and notes how long each answer takes.
class Application {
 public:
  Application(const NetNamespace& from, const NetNamespace& to) {
    UniqueFd server = to.run([] { return datagram_socket(); });
    udp::endpoint address(make_address("192.0.2.2"), 0);
    check(::bind(server.get(), address.data(), static_cast<socklen_t>(address.size())));
    auto size = static_cast<socklen_t>(address.capacity());
    check(::getsockname(server.get(), address.data(), &size));
    UniqueFd client = from.run([] { return datagram_socket(); });
    check(::connect(client.get(), address.data(), static_cast<socklen_t>(address.size())));
    answers_ = std::thread([this, socket = std::move(server)] { answer(socket.get()); });
    asks_ = std::thread([this, socket = std::move(client)] { ask(socket.get()); });
  }
  ~Application() { end(); }

  /// How long answers have taken, the shortest first.
  std::vector<Millis> end() {
    ended_ = true;
    if (asks_.joinable()) asks_.join();
    if (answers_.joinable()) answers_.join();
    std::sort(times_.begin(), times_.end());
    return times_;
  }

 private:
  static void check(int result) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), "a test's socket");
  }
  static UniqueFd datagram_socket() {
    UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    check(socket.get());
    return socket;
  }
  static bool readable(int socket, std::chrono::milliseconds patience) {
    pollfd wanted{socket, POLLIN, 0};
    return ::poll(&wanted, 1, static_cast<int>(patience.count())) > 0;
  }
  void answer(int socket) const {
    std::array<char, 100> bytes{};
    while (!ended_) {
      if (!readable(socket, 10ms)) continue;
      sockaddr_storage from{};
      socklen_t size = sizeof from;
      const ssize_t length = ::recvfrom(socket, bytes.data(), bytes.size(), 0,
                                        reinterpret_cast<sockaddr*>(&from), &size);
      if (length > 0) {
        ::sendto(socket, bytes.data(), static_cast<std::size_t>(length), 0,
                 reinterpret_cast<sockaddr*>(&from), size);
      }
    }
  }
  void ask(int socket) {
    for (std::uint32_t asked = 1; !ended_; ++asked) {
      std::array<char, 100> bytes{};
      std::memcpy(bytes.data(), &asked, sizeof asked);
      const auto at = Clock::now();
      ::send(socket, bytes.data(), bytes.size(), 0);
      std::uint32_t answered = 0;
      while (answered != asked && readable(socket, 1s)) {
        if (::recv(socket, bytes.data(), bytes.size(), 0) > 0) {
          std::memcpy(&answered, bytes.data(), sizeof answered);
        }
      }
      times_.emplace_back(Clock::now() - at);
      readable(socket, 3ms);  // nothing comes: the time from one to the next
    }
  }

  std::atomic<bool> ended_{false};
  std::vector<Millis> times_;  // of asks_, until that has ended
  std::thread answers_, asks_;
};

/// hostA sends to hostB by a router whose link to hostB is narrow, with a deep queue before it.
class LaneQueues : public testing::Test {
 protected:
  LaneQueues() {
    router_.shell("echo 1 > /proc/sys/net/ipv4/ip_forward");
    join(a_, "192.0.3.1", "192.0.3.254", "to-a");
    join(b_, "192.0.2.2", "192.0.2.254", "to-b");
    router_.shell("tc qdisc add dev to-b root tbf rate " + std::to_string(kLinkBits / 1e6) +
                  "mbit burst 128kb latency " + std::to_string(kFullQueue.count()) + "ms");
    // One that fills queues and that every kernel has, whatever the usual one of this machine is.
    a_.shell("echo reno > /proc/sys/net/ipv4/tcp_congestion_control");
    std::mt19937_64 random(1);
    for (std::size_t at = 0; at < source_.size(); at += sizeof(std::uint64_t)) {
      const std::uint64_t value = random();
      std::memcpy(source_.data() + at, &value, sizeof value);
    }
  }

  void join(const NetNamespace& host, const std::string& address, const std::string& router,
            const std::string& name) {
    router_.shell("ip link add name " + name + " type veth peer name nic netns /proc/" +
                  std::to_string(::getpid()) + "/fd/" + std::to_string(host.fd()));
    router_.shell("ip addr add " + router + "/24 dev " + name + " && ip link set " + name + " up");
    host.shell("ip addr add " + address + "/24 dev nic && ip link set nic up && " +
               "ip route add default via " + router);
  }

  void set_up_lanes() {
    overlay::ServerOptions options;
    options.listen = {{make_address("192.0.2.2"), 0}};
    options.purpose = overlay::Purpose::lane;
    b_.run([&] {
      server_ = overlay::ChannelServer::listen(
                    io_.get_executor(), authority_.context("hostB"), options, overlay::anyone(),
                    [this](overlay::Channel lane) { return receiver_.serve(std::move(lane)); })
                    .value();
    });
    LaneTarget target;
    target.move_id = "move";
    target.source = "hostA";
    std::vector<PageStore::Target> blocks;
    blocks.push_back({.bytes = destination_});
    target.store = std::make_unique<PageStore>(std::move(blocks));
    target.on_failure = [](policy::Error error) { ADD_FAILURE() << error.message; };
    receiver_.expect(std::move(target));

    LaneSetup setup;
    setup.executor = io_.get_executor();
    setup.endpoints = server_->endpoints();
    setup.connect.expected_host = "hostB";
    setup.connect.purpose = overlay::Purpose::lane;
    setup.connect.session = "move";
    setup.tls = authority_.context("hostA");
    setup.peer_check = overlay::anyone();
    lanes_ = std::make_shared<LaneSet>(std::move(setup));
    ledger_ = std::make_shared<PageLedger>(std::vector<std::span<const std::byte>>{source_},
                                           PageLedger::Options{});
  }

  Result<void> run(asio::awaitable<Result<void>> work) {
    Result<void> done{};
    asio::co_spawn(io_, std::move(work), [&](std::exception_ptr thrown, Result<void> result) {
      if (thrown) std::rethrow_exception(thrown);
      done = result;
      io_.stop();
    });
    io_.restart();
    io_.run_for(60s);
    return io_.stopped() ? done : policy::make_error(boost::system::errc::timed_out, "no end");
  }
  Result<void> send(LaneSet::Guest guest, std::uint64_t pages) {
    PageSet written = ledger_->empty_set();
    written.insert({0, 0, pages});
    ledger_->note_scan(written);
    ledger_->begin_round();
    LaneSet::Look look = [this]() -> Result<void> {
      note_congestion_control();
      return {};
    };
    return run(lanes_->send_round(ledger_, guest, look, 5ms));
  }

  /// Of the lanes' ends at hostA.
  void note_congestion_control() {
    const auto to = server_->endpoints().front();
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      const int fd = std::stoi(entry.path().filename());
      tcp::endpoint remote;
      auto size = static_cast<socklen_t>(remote.capacity());
      if (getpeername(fd, remote.data(), &size) != 0 || remote != to) continue;
      if (auto name = overlay::congestion_control(fd)) used_.insert(*name);
    }
  }

  NetNamespace a_, b_, router_;
  overlay::Authority authority_;
  std::vector<std::byte> source_ = std::vector<std::byte>(kPages * kPageSize);
  std::vector<std::byte> destination_ = std::vector<std::byte>(kPages * kPageSize);
  asio::io_context io_{1};
  LaneReceiver receiver_;
  std::unique_ptr<overlay::ChannelServer> server_;
  std::shared_ptr<PageLedger> ledger_;
  std::shared_ptr<LaneSet> lanes_;
  std::set<std::string> used_;
};

TEST_F(LaneQueues, AreShortWhileTheGuestRuns) {
  a_.run([&] {
    set_up_lanes();
    ASSERT_TRUE(run(lanes_->open()));
    Application application(a_, b_);
    const auto began = Clock::now();
    const auto sent = send(LaneSet::Guest::runs, kPages);
    const Millis took = Clock::now() - began;
    const std::vector<Millis> times = application.end();
    ASSERT_TRUE(sent) << sent.error().message;
    EXPECT_EQ(destination_, source_);
    ASSERT_GE(times.size(), 10u);
    const Millis half = times[times.size() / 2], most = times[times.size() * 9 / 10];
    // Half a millisecond when nothing is sent.
    EXPECT_LT(half, kFullQueue / 4)
        << "of " << times.size() << " answers; nine of ten came within " << most.count()
        << " ms, the last after " << times.back().count();
    const double at_full_rate = static_cast<double>(source_.size()) * 8 / kLinkBits * 1000;
    EXPECT_LT(took.count(), 4 * at_full_rate) << "the link is to be filled all the same";
    EXPECT_THAT(used_, ElementsAre(overlay::kShortQueues));
    lanes_->close();
  });
}

TEST_F(LaneQueues, AreNobodysConcernWhileTheGuestIsStopped) {
  a_.run([&] {
    set_up_lanes();
    ASSERT_TRUE(run(lanes_->open()));
    ASSERT_TRUE(send(LaneSet::Guest::runs, kPages / 8));
    EXPECT_THAT(used_, ElementsAre(overlay::kShortQueues));
    used_.clear();
    ASSERT_TRUE(send(LaneSet::Guest::is_stopped, kPages / 8));
    EXPECT_THAT(used_, ElementsAre("reno"));
    used_.clear();
    ASSERT_TRUE(send(LaneSet::Guest::runs, kPages / 8)) << "the stop was put off";
    EXPECT_THAT(used_, ElementsAre(overlay::kShortQueues));
    lanes_->close();
  });
}

TEST_F(LaneQueues, AreNobodysConcernOnceACopyWouldNotEnd) {
  a_.run([&] {
    set_up_lanes();
    ASSERT_TRUE(run(lanes_->open()));
    lanes_->press();
    ASSERT_TRUE(send(LaneSet::Guest::runs, kPages / 8));
    EXPECT_THAT(used_, ElementsAre("reno"));
    lanes_->close();
  });
}

}  // namespace
}  // namespace homeport::migration
