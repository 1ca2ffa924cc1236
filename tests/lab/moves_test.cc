// Many moves in a row lose nothing: no packet of a container's or of a guest's is lost, doubled or
// overtaken, no connection is reset, and no sender hears that anybody is unreachable.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <vector>

#include "tests/lab/fleet.h"

namespace homeport::lab {
namespace {

constexpr std::size_t kStreams = 8;

/// The name of the instance says how many moves.
class Moves : public testing::TestWithParam<int> {
 protected:
  /// One after the other, to and fro, without a pause.
  static void make_moves(Fleet& fleet, int count) {
    for (int i = 0; i < count; ++i) {
      Host& there = fleet.other_than(fleet.wait_somewhere());
      const MoveOutcome outcome = fleet.move(there);
      ASSERT_EQ(outcome.status, 0) << "move " << i << ": " << outcome.err;
      // What has ended would be most of what an agent looks at.
      if (i % 20 == 19) fleet.lab().homeport_checked("task remove --ended");
    }
  }

  static void say(const boost::json::object& figures) {
    std::puts(boost::json::serialize(figures).c_str());
    std::fflush(stdout);
  }
};

class ContainerMoves : public Moves {};
class GuestMoves : public Moves {};

TEST_P(ContainerMoves, LoseNothing) {
  Fleet fleet({.name = "container", .containers = true});
  auto flow = fleet.start_flow(10'000);
  flow->wait_progress(10'000, 20s);
  make_moves(fleet, GetParam());
  flow->wait_progress(1'000, 20s);
  const FlowReport report = flow->finish();
  say({{"moves", GetParam()},
       {"sent", report.sent},
       {"lost", report.lost},
       {"duplicated", report.duplicated},
       {"reordered", report.reordered},
       {"overtaken_at_change", report.overtaken_at_change},
       {"switches", report.switches},
       {"unreachable", report.unreachable},
       {"longest_gap_ms", report.longest_gap_ms},
       {"longest_transit_ms", report.longest_transit_ms},
       {"longest_pause_of_the_sender_ms", report.longest_pause_ms}});
  EXPECT_EQ(report.lost, 0u) << report.to_string();
  EXPECT_EQ(report.duplicated, 0u) << report.to_string();
  EXPECT_EQ(report.reordered, 0u) << report.to_string();
  EXPECT_EQ(report.unreachable, 0u) << report.to_string();
  EXPECT_EQ(report.switches, static_cast<std::uint64_t>(GetParam())) << report.to_string();
  EXPECT_THAT(fleet.lab().complaints(), testing::IsEmpty());
}

TEST_P(GuestMoves, LoseNothing) {
  Fleet fleet({.name = "guest"});
  Lab& lab = fleet.lab();
  const std::string& address = fleet.options().ipv4;
  const GuestStatus before = fleet.guest().status();
  DatagramClient datagrams(lab.client(), address, lab.directory() / "datagrams.log");
  std::vector<std::unique_ptr<StreamClient>> streams;
  for (std::size_t i = 0; i < kStreams; ++i) {
    // Together what one of the usual ones offers: an emulated guest is not to be saturated.
    streams.push_back(std::make_unique<StreamClient>(
        lab.client(), address, lab.directory() / fmt::format("stream{}.log", i), 32));
  }
  RequestClient requests(lab.client(), address, lab.directory() / "requests.log");
  auto all_go_on = [&] {
    datagrams.wait_progress(500, 30s);
    requests.wait_progress(5, 30s);
    for (auto& stream : streams) stream->wait_progress(16 * 1024, 30s);
  };
  all_go_on();
  make_moves(fleet, GetParam());
  all_go_on();

  const RequestReport asked = requests.finish();
  std::uint64_t survived = 0, checked_bytes = 0;
  for (auto& stream : streams) {
    const StreamReport report = stream->finish();
    EXPECT_TRUE(report.survived) << report.error;
    EXPECT_EQ(report.mismatches, 0u);
    survived += report.survived;
    checked_bytes += report.checked_bytes;
  }
  const DatagramReport numbered = datagrams.finish();
  const GuestStatus after = fleet.guest().status();
  const DatagramWindow whole = numbered.all();
  // A guest that is seconds behind has been given more than it can do on this machine: its tap
  // fills, and what it leaves there at a move is sent on behind the rest.
  std::uint64_t slowest = 0;
  for (const Datagram& datagram : numbered.datagrams) {
    if (datagram.answered != 0) slowest = std::max(slowest, datagram.answered - datagram.sent);
  }
  const std::string behind = fmt::format("the guest was up to {} ms behind", slowest / 1'000'000);
  say({{"moves", GetParam()},
       {"datagrams", whole.sent},
       {"lost", whole.lost},
       {"duplicated", numbered.duplicated},
       {"reordered", numbered.reordered},
       {"overtaken_before_the_guest", lab.taps().overtaken_to_guest.load()},
       {"overtaken_when_the_guest_sent", lab.taps().overtaken_from_guest.load()},
       {"unreachable", numbered.unreachable},
       {"longest_gap_ms", whole.longest_gap_ms},
       {"slowest_answer_ms", slowest / 1'000'000},
       {"streams_survived", survived},
       {"stream_bytes_checked", checked_bytes},
       {"requests", asked.answered},
       {"requests_failed", asked.failed},
       {"longest_request_ms", asked.longest_ms},
       {"dropped_by_the_guests_kernel", after.datagram_drops - before.datagram_drops}});
  EXPECT_EQ(whole.lost, 0u) << locate_losses(numbered, lab.taps()).to_string() << "; " << behind;
  EXPECT_EQ(numbered.duplicated, 0u);
  EXPECT_EQ(numbered.reordered, 0u) << behind;
  EXPECT_EQ(numbered.unreachable, 0u);
  EXPECT_EQ(survived, kStreams);
  EXPECT_EQ(asked.failed, 0u) << asked.error;
  EXPECT_EQ(after.stream_mismatches, 0u);
  EXPECT_EQ(after.boot_id, before.boot_id);
  EXPECT_THAT(lab.complaints(), testing::IsEmpty());
}

std::string moves(const testing::TestParamInfo<int>& info) {
  return std::to_string(info.param);
}

INSTANTIATE_TEST_SUITE_P(Few, ContainerMoves, testing::Values(10), moves);
INSTANTIATE_TEST_SUITE_P(Few, GuestMoves, testing::Values(2), moves);
INSTANTIATE_TEST_SUITE_P(Many, ContainerMoves, testing::Values(200), moves);
INSTANTIATE_TEST_SUITE_P(Many, GuestMoves, testing::Values(50), moves);

}  // namespace
}  // namespace homeport::lab
