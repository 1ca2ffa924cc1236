// Where lanes begin, how their packets are marked, and what is known of them.
#include "overlay/channel/transport.h"

#include "tests/unit/overlay/channel/test_peers.h"

#include <gmock/gmock.h>

#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <thread>

namespace homeport::overlay {
namespace {

using testing::AllOf;
using testing::Each;
using testing::Field;
using testing::SizeIs;

/// One end of a TCP connection of this process.
struct End {
  int traffic_class = -1, priority = -1;
  std::string local;
};

/// Those of connections to `server`, both of each.
std::vector<End> ends_of(const tcp::endpoint& server) {
  std::vector<End> ends;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const int fd = std::stoi(entry.path().filename());
    tcp::endpoint local, remote;
    socklen_t size = static_cast<socklen_t>(local.capacity());
    if (getsockname(fd, local.data(), &size) != 0) continue;
    size = static_cast<socklen_t>(remote.capacity());
    if (getpeername(fd, remote.data(), &size) != 0) continue;
    if (local.port() != server.port() && remote.port() != server.port()) continue;
    End end;
    socklen_t length = sizeof(int);
    const bool ipv6 = server.address().is_v6();
    getsockopt(fd, ipv6 ? IPPROTO_IPV6 : IPPROTO_IP, ipv6 ? IPV6_TCLASS : IP_TOS,
               &end.traffic_class, &length);
    length = sizeof(int);
    getsockopt(fd, SOL_SOCKET, SO_PRIORITY, &end.priority, &length);
    if (remote.port() == server.port()) end.local = local.address().to_string();
    ends.push_back(end);
  }
  return ends;
}

class TransportTest : public ChannelFixture, public testing::WithParamInterface<const char*> {
 protected:
  void connect_and_look(Purpose purpose, std::optional<policy::IpAddress> from,
                        const std::function<void(Channel& a)>& look) {
    ServerOptions options = server_options();
    options.listen = {{asio::ip::make_address(GetParam()), 0}};
    options.purpose = purpose;
    serve(tls_b_, std::move(options), anyone());
    run([](TransportTest* self, Purpose purpose, std::optional<policy::IpAddress> from,
           const std::function<void(Channel & a)>& look) -> asio::awaitable<void> {
      ConnectOptions options = self->to_b();
      options.purpose = purpose;
      options.local = from;
      auto a = co_await connect(self->tls_a_, options, anyone());
      EXPECT_TRUE(a) << a.error().message;
      if (!a) co_return;
      Channel b = co_await self->accepted_.take();
      const std::vector<std::byte> payload = pattern(1 << 20, 1);
      asio::co_spawn(self->io_, a->send(text("x"), payload), asio::detached);
      std::vector<std::byte> received;
      auto got = co_await b.receive<StringValue>(&received);
      EXPECT_TRUE(got);
      look(*a);
    }(this, purpose, from, look));
  }
};

TEST_P(TransportTest, BothEndsOfALaneMarkTheirPacketsAsBulk) {
  connect_and_look(Purpose::lane, {}, [&](Channel&) {
    const auto ends = ends_of(endpoint());
    EXPECT_THAT(ends, SizeIs(2));
    EXPECT_THAT(ends, Each(AllOf(Field(&End::traffic_class, 1 << 2), Field(&End::priority, 2))));
  });
}

TEST_P(TransportTest, OtherChannelsAreNotMarked) {
  connect_and_look(Purpose::control, {}, [&](Channel&) {
    EXPECT_THAT(ends_of(endpoint()),
                Each(AllOf(Field(&End::traffic_class, 0), Field(&End::priority, 0))));
  });
}

TEST_P(TransportTest, ItIsKnownWhatHasArrived) {
  connect_and_look(Purpose::lane, {}, [&](Channel& a) {
    // The last acknowledgement may come after what it is of has been read.
    constexpr std::uint64_t kSent = 1 << 20;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    auto figures = a.transport();
    while (figures && figures->acknowledged < kSent &&
           std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
      figures = a.transport();
    }
    ASSERT_TRUE(figures);
    EXPECT_GE(figures->acknowledged, kSent);
    EXPECT_LE(figures->queued, figures->acknowledged);
    EXPECT_GT(figures->bytes_per_second, 0u);
    a.close();
    EXPECT_FALSE(a.transport());
  });
}

TEST_P(TransportTest, TheCongestionControlMayBeAnother) {
  connect_and_look(Purpose::lane, {}, [&](Channel& a) {
    tcp::socket another(io_, endpoint().protocol());
    const int socket = another.native_handle();
    const auto unknown = use_congestion_control(socket, "of-nobody");
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().code, errc::no_such_file_or_directory) << unknown.error().message;
    // Every kernel has it, and everybody may use it.
    EXPECT_TRUE(use_congestion_control(socket, "reno"));
    EXPECT_EQ(congestion_control(socket).value(), "reno");
    EXPECT_FALSE(congestion_control(-1));
    EXPECT_TRUE(a.keep_queues_short(false)) << "it never did";
    a.close();
    EXPECT_FALSE(a.keep_queues_short(true));
  });
}

INSTANTIATE_TEST_SUITE_P(Families, TransportTest, testing::Values("127.0.0.1", "::1"),
                         [](const auto& each) {
                           return std::string(each.param[0] == ':' ? "Ipv6" : "Ipv4");
                         });

class LocalAddressTest : public TransportTest {
 protected:
  static asio::awaitable<void> fail_to_connect(LocalAddressTest* self) {
    ConnectOptions options = self->to_b();
    options.local = asio::ip::make_address("192.0.2.1");
    const Error failure = co_await self->failure_to_connect(self->tls_a_, options);
    EXPECT_THAT(failure.message, testing::HasSubstr("cannot send from 192.0.2.1"));
  }
};

TEST_P(LocalAddressTest, IsWhereItBegins) {
  connect_and_look(Purpose::lane, asio::ip::make_address("127.0.0.5"), [&](Channel&) {
    EXPECT_THAT(ends_of(endpoint()), testing::Contains(Field(&End::local, "127.0.0.5")));
  });
}

TEST_P(LocalAddressTest, MustBeOneOfThisHost) {
  serve();
  run(fail_to_connect(this));
}

INSTANTIATE_TEST_SUITE_P(Ipv4, LocalAddressTest, testing::Values("127.0.0.1"));

}  // namespace
}  // namespace homeport::overlay
