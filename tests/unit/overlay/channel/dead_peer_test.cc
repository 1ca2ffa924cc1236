// A peer whose host is gone without a word. Root, for a network namespace whose loopback fails.
#include "tests/unit/overlay/channel/test_peers.h"

#include <gmock/gmock.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>

namespace homeport::overlay {
namespace {

/// Turns the loopback device of this thread's namespace on or off.
void set_loopback(bool up) {
  int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ASSERT_GE(fd, 0);
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  ASSERT_EQ(::ioctl(fd, SIOCGIFFLAGS, &request), 0);
  request.ifr_flags =
      static_cast<short>(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
  ASSERT_EQ(::ioctl(fd, SIOCSIFFLAGS, &request), 0);
  ::close(fd);
}

class DeadPeerTest : public ChannelFixture {};

TEST_F(DeadPeerTest, IsNoticedWhileOnlyReceiving) {
  // A namespace belongs to a thread: the test's own stays where it is.
  std::thread([this] {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << std::strerror(errno);
    ASSERT_NO_FATAL_FAILURE(set_loopback(true));
    Timeouts timeouts;
    timeouts.dead_peer = 2s;
    serve(anyone(), timeouts);
    run([&]() -> asio::awaitable<void> {
      ConnectOptions options = to_b();
      options.timeouts = timeouts;
      Result<Channel> connected = co_await connect(tls_a_, options, anyone());
      Channel a = std::move(connected.value());
      Channel b = co_await accepted_.take();
      set_loopback(false);
      auto began = std::chrono::steady_clock::now();
      Result<StringValue> got = co_await a.receive<StringValue>();
      auto took = std::chrono::steady_clock::now() - began;
      EXPECT_EQ(got.error().code, errc::timed_out) << got.error().message;
      EXPECT_THAT(got.error().message, ::testing::HasSubstr("hostB"));
      EXPECT_GE(took, 1s);
      EXPECT_LE(took, 5s);
    }());
  }).join();
}

}  // namespace
}  // namespace homeport::overlay
