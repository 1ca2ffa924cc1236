// The loop around the prober, on a wire of the test's own and with the real clock.
#include "agent/paths/probing.h"

#include "tests/unit/agent/paths/fake_probe_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <optional>

namespace homeport::agent {
namespace {

using overlay::ProbedWay;
using overlay::ProbePair;
using testing::Ge;
using testing::IsEmpty;
using testing::SizeIs;
using namespace std::chrono_literals;
using boost::asio::ip::tcp;
using std::chrono::steady_clock;

ProbedWay way(const std::string& local, const std::string& remote) {
  const ProbePair pair{*policy::parse_address(local), *policy::parse_address(remote)};
  return {.path = {pair.local, pair.remote}, .pair = pair};
}

class ProbingTest : public testing::Test {
 protected:
  void wait(const std::function<bool()>& holds) {
    const auto deadline = steady_clock::now() + 20s;
    while (!holds() && steady_clock::now() < deadline) {
      io.restart();
      io.run_one_for(50ms);
    }
    ASSERT_TRUE(holds()) << "in time";
  }
  policy::PathQuality quality(const ProbedWay& of) const {
    for (const policy::PathReport& report : probing->reports("hostB")) {
      if (report.path == of.path) return report.quality;
    }
    return {};
  }

  const ProbedWay first = way("192.0.2.1", "192.0.2.9"), second = way("192.0.2.2", "192.0.2.9");
  boost::asio::io_context io{1};
  test::FakeUnderlay underlay{.carrying = {{first.pair, 1000us}, {second.pair, 2000us}}};
  const std::shared_ptr<overlay::LaneTraffic> lanes = std::make_shared<overlay::LaneTraffic>();
  std::map<std::string, int> news;
  std::function<void()> on_news = [] {};
  std::optional<Probing> probing{std::in_place, io.get_executor(),
                                 std::make_unique<test::FakeProbeWire>(underlay), lanes,
                                 [this](const std::string& peer) {
                                   ++news[peer];
                                   on_news();
                                 }};
};

TEST_F(ProbingTest, MeasuresTheWaysAndSaysSo) {
  probing->follow("hostB", {first, second});
  wait([&] { return quality(first).measured() && quality(second).measured(); });
  EXPECT_GE(quality(first).rtt, 1000us);
  EXPECT_GE(quality(second).rtt, 2000us);
  EXPECT_THAT(news["hostB"], Ge(1));
  EXPECT_THAT(news, SizeIs(1));
  EXPECT_THAT(probing->totals("hostB").answered, Ge(2u));
  EXPECT_THAT(probing->totals("hostB").asked, Ge(probing->totals("hostB").answered));
  EXPECT_THAT(probing->reports("hostC"), IsEmpty());
}

TEST_F(ProbingTest, FindsAWayThatCarriesNoMoreAndWhenItDoesAgain) {
  probing->follow("hostB", {first, second});
  wait([&] { return quality(first).measured() && quality(second).measured(); });
  underlay.carrying.erase(first.pair);
  bool told = false;
  on_news = [&] { told = quality(first).broken(); };
  wait([&] { return quality(first).broken(); });
  wait([&] { return told; });
  EXPECT_FALSE(quality(second).broken());
  underlay.carrying[first.pair] = 1000us;
  wait([&] { return quality(first).measured(); });
}

TEST_F(ProbingTest, AWayThatALaneIsCarriedOnIsNotBroken) {
  const ProbedWay local = way("127.0.0.1", "127.0.0.2");
  underlay.carrying[local.pair] = 1000us;
  tcp::acceptor acceptor(io, {local.pair.remote, 0});
  tcp::socket here(io, {local.pair.local, 0}), there(io);
  here.connect(acceptor.local_endpoint());
  acceptor.accept(there);
  const auto watched = lanes->watch(here.native_handle());
  const auto carry = [&] {
    char byte = 'x';
    boost::asio::write(here, boost::asio::buffer(&byte, 1));
    boost::asio::read(there, boost::asio::buffer(&byte, 1));
  };
  probing->follow("hostB", {first, local});
  wait([&] { return quality(first).measured() && quality(local).measured(); });
  underlay.carrying.clear();
  wait([&] {
    carry();
    return quality(first).broken();
  });
  EXPECT_TRUE(quality(local).measured()) << "no later than the other";
  wait([&] { return quality(local).broken(); });
}

TEST_F(ProbingTest, WhereTheKernelCannotSendIsNoWay) {
  underlay.refuses = boost::system::errc::network_unreachable;
  probing->follow("hostB", {first});
  wait([&] { return quality(first).broken(); });
}

TEST_F(ProbingTest, WhereItHasNoRoomForAMomentNothingIsLost) {
  ProbedWay in_use = first;
  in_use.in_use = true;
  probing->follow("hostB", {in_use});
  wait([&] { return quality(first).measured(); });
  underlay.refuses = boost::system::errc::no_buffer_space;
  const int asked = underlay.asked[first.pair];
  wait([&] { return underlay.asked[first.pair] > asked + 10; });
  EXPECT_FALSE(quality(first).broken());
}

TEST_F(ProbingTest, AWireThatTellsNothingMeasuresAllTheSame) {
  underlay.tells = false;
  ProbedWay in_use = first;
  in_use.in_use = true;
  probing->follow("hostB", {in_use});
  wait([&] { return quality(first).measured() && underlay.told > 2; });
}

TEST_F(ProbingTest, WaysMayBeOthersAndPeersForgottenWhileThereIsNews) {
  int times = 0;
  on_news = [&] {
    probing->follow("hostB", ++times % 2 == 0 ? std::vector{first, second} : std::vector{second});
    probing->forget("hostC");
  };
  probing->follow("hostB", {first});
  probing->follow("hostC", {first});
  wait([&] { return times > 4 || quality(second).measured(); });
  EXPECT_THAT(probing->reports("hostC"), IsEmpty());
}

TEST_F(ProbingTest, WhoIsForgottenIsNotAskedAnyMore) {
  probing->follow("hostB", {first});
  probing->follow("hostC", {second});
  wait([&] { return quality(first).measured(); });
  probing->forget("hostB");
  const int asked = underlay.asked[first.pair];
  const int others = underlay.asked[second.pair];
  wait([&] { return underlay.asked[second.pair] > others + 1; });
  EXPECT_EQ(underlay.asked[first.pair], asked);
  EXPECT_THAT(probing->reports("hostB"), IsEmpty());
  EXPECT_EQ(probing->totals("hostB").asked, 0u);
}

TEST_F(ProbingTest, TheWireGoesWithItWhateverElseIsThere) {
  probing->follow("hostB", {first});
  wait([&] { return quality(first).measured(); });
  probing.reset();
  EXPECT_EQ(underlay.wires, 0) << "the datapath that it is of may go now";
  const int asked = underlay.asked[first.pair];
  io.restart();
  io.run_for(20s);
  EXPECT_TRUE(io.stopped()) << "no coroutine is left";
  EXPECT_EQ(underlay.asked[first.pair], asked);
}

TEST_F(ProbingTest, MayGoBeforeItHasBegun) {
  probing.reset();
  io.run_for(20s);
  EXPECT_TRUE(io.stopped());
  EXPECT_EQ(underlay.wires, 0);
}

}  // namespace
}  // namespace homeport::agent
