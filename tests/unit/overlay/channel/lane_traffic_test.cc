// What both ends of a lane show of the way it runs on.
#include "overlay/channel/lane_traffic.h"

#include "tests/unit/overlay/channel/test_peers.h"

#include <gmock/gmock.h>

#include <atomic>
#include <functional>
#include <thread>

namespace homeport::overlay {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::Field;
using testing::IsEmpty;

using Carried = LaneTraffic::Carried;
using Clock = LaneTraffic::Clock;

/// The kernel tells times to its ticks, which come late on a busy machine.
constexpr auto kTick = 200ms;

class LaneTrafficTest : public ChannelFixture, public testing::WithParamInterface<const char*> {
 protected:
  void with_lane(const std::function<asio::awaitable<void>(Channel& a, Channel& b)>& test) {
    ServerOptions options = server_options();
    options.listen = {{address(), 0}};
    options.purpose = Purpose::lane;
    options.traffic = there_;
    serve(tls_b_, std::move(options), anyone());
    run([](LaneTrafficTest* self,
           const std::function<asio::awaitable<void>(Channel&, Channel&)>& test)
            -> asio::awaitable<void> {
      ConnectOptions options = self->to_b();
      options.purpose = Purpose::lane;
      options.traffic = self->here_;
      auto a = co_await connect(self->tls_a_, options, anyone());
      EXPECT_TRUE(a) << a.error().message;
      if (!a) co_return;
      Channel b = co_await self->accepted_.take();
      co_await test(*a, b);
    }(this, test));
  }
  static policy::IpAddress address() { return *policy::parse_address(GetParam()); }

  static asio::awaitable<void> carry(Channel& from, Channel& to) {
    auto sent = co_await from.send(text("x"));
    EXPECT_TRUE(sent);
    auto got = co_await to.receive<StringValue>();
    EXPECT_TRUE(got);
  }
  static auto since(Clock::time_point begin) {
    return ElementsAre(
        AllOf(Field(&Carried::local, address()), Field(&Carried::remote, address()),
              Field(&Carried::last, AllOf(testing::Ge(begin - kTick), testing::Le(Clock::now())))));
  }

  const std::shared_ptr<LaneTraffic> here_ = std::make_shared<LaneTraffic>();
  const std::shared_ptr<LaneTraffic> there_ = std::make_shared<LaneTraffic>();
};

TEST_P(LaneTrafficTest, IsWhatWasAcknowledgedAndWhatCame) {
  with_lane([&](Channel& a, Channel& b) -> asio::awaitable<void> {
    for (int i = 0; i < 2; ++i) {
      // Nothing new once the last acknowledgement has come.
      while (!here_->take().empty() || !there_->take().empty()) std::this_thread::yield();
      const auto begin = Clock::now();
      co_await carry(i == 0 ? a : b, i == 0 ? b : a);
      co_await carry(i == 0 ? b : a, i == 0 ? a : b);
      const auto here = here_->take(), there = there_->take();
      EXPECT_THAT(here, since(begin));
      EXPECT_THAT(there, since(begin));
    }
  });
}

TEST_P(LaneTrafficTest, IsOfLanesThatAreThere) {
  with_lane([&](Channel& a, Channel& b) -> asio::awaitable<void> {
    co_await carry(a, b);
    a.close();
    EXPECT_THAT(here_->take(), IsEmpty());
    { const Channel gone = std::move(b); }
    EXPECT_THAT(there_->take(), IsEmpty());
    EXPECT_EQ(here_->watch(-1), nullptr);
  });
}

/// Lanes live on other threads than who asks.
TEST_P(LaneTrafficTest, MayBeAskedForWhileLanesComeAndGo) {
  std::atomic<bool> ended = false;
  std::thread asks([&] {
    while (!ended) here_->take(), there_->take();
  });
  with_lane([&](Channel& a, Channel& b) -> asio::awaitable<void> {
    for (int i = 0; i < 10; ++i) {
      co_await carry(a, b);
      ConnectOptions options = to_b();
      options.purpose = Purpose::lane;
      options.traffic = here_;
      auto another = co_await connect(tls_a_, options, anyone());
      EXPECT_TRUE(another);
      Channel its_end = co_await accepted_.take();
      if (another) co_await carry(*another, its_end);
    }
  });
  ended = true;
  asks.join();
}

INSTANTIATE_TEST_SUITE_P(Families, LaneTrafficTest, testing::Values("127.0.0.1", "::1"),
                         [](const auto& info) {
                           return std::string(info.param) == "::1" ? "Ipv6" : "Ipv4";
                         });

}  // namespace
}  // namespace homeport::overlay
