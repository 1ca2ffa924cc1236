// Two hosts that do not reach each other for a while send through a third one, which relays. Nobody
// has more than one interface.
#include <boost/json/parse.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/lab/fleet.h"
#include "tests/lab/path_view.h"
#include "tests/lab/wait.h"

namespace homeport::lab {
namespace {

namespace json = boost::json;
using testing::IsEmpty;

json::value body_of(const std::string& reply) {
  boost::system::error_code bad;
  auto body = json::parse(reply.substr(std::min(reply.size(), reply.find("\r\n\r\n"))), bad);
  return bad ? json::value(json::object()) : body;
}

/// The parameter: FleetOptions::open_vswitch.
class RelayedPaths : public testing::TestWithParam<std::string> {
 protected:
  explicit RelayedPaths(const std::string& relays = "B")
      : fleet_(FleetOptions{
            .name = "relay", .containers = true, .open_vswitch = GetParam(), .relays = relays}) {}

  void TearDown() override { EXPECT_THAT(fleet_.lab().complaints({kNotKnownYet}), IsEmpty()); }

  /// The way between source and destination, without the third host.
  void cut(bool is_cut) {
    for (Host* host : {&source_, &destination_}) host->underlay().set_apart(is_cut);
  }
  std::string told() const {
    const ClassView here = path_view(source_, destination_),
                    there = path_view(destination_, source_);
    return "source: " + here.explanation + "\ndestination: " + there.explanation;
  }
  void wait_for(const std::function<bool(const ClassView&)>& holds, const std::string& what) {
    wait_until(
        [&] {
          return holds(path_view(source_, destination_)) && holds(path_view(destination_, source_));
        },
        20s, what, [&] { return told(); });
  }
  void wait_known() {
    wait_for([&](const ClassView& it) { return it.state == "agreed" && it.good_relays == "hostB"; },
             "both to agree, and to know of the other way");
  }
  void wait_through(const std::string& relay) {
    wait_for([&](const ClassView& it) { return it.relay == relay; },
             relay.empty() ? "what is sent to go directly" : "it to go through " + relay);
  }

  Fleet fleet_;
  Host& source_ = fleet_.c();       // of the traffic
  Host& destination_ = fleet_.a();  // where the application is
  Host& relay_ = fleet_.b();
};

TEST_P(RelayedPaths, AreTakenWhileThereIsNoDirectOne) {
  wait_known();
  auto flow = fleet_.start_flow(1000);
  cut(true);
  wait_through("hostB");
  flow->wait_progress(1000, 20s);
  const json::value told = body_of(relay_.get("/v1/paths"));
  EXPECT_EQ(told.at_pointer("/relaying/hosts"), 2);
  cut(false);
  wait_through("");
  flow->wait_progress(1000, 20s);
  const FlowReport report = flow->finish();
  RecordProperty("longest_gap_ms", std::to_string(report.longest_gap_ms));
  EXPECT_LT(report.longest_gap_ms, 2000) << report.to_string();
}

TEST_P(RelayedPaths, StayWhenTheAgentThatRelaysIsKilled) {
  wait_known();
  cut(true);
  wait_through("hostB");
  auto flow = fleet_.start_flow(1000);
  relay_.kill_agent();
  flow->wait_progress(2000, 20s);
  relay_.start_agent();
  relay_.wait_ready();
  flow->wait_progress(3000, 20s);
  EXPECT_EQ(path_view(source_, destination_).relay, "hostB") << told();
  const FlowReport report = flow->finish();
  EXPECT_EQ(report.lost, 0u) << report.to_string();
}

TEST_P(RelayedPaths, StayWhenTheAgentOfAnEndIsKilled) {
  wait_known();
  cut(true);
  wait_through("hostB");
  auto flow = fleet_.start_flow(1000);
  source_.kill_agent();
  flow->wait_progress(1000, 20s);
  source_.start_agent();
  source_.wait_ready();
  flow->wait_progress(3000, 20s);
  const FlowReport report = flow->finish();
  EXPECT_EQ(report.lost, 0u) << report.to_string();
}

TEST_P(RelayedPaths, AreNotTakenWhereTheControllerDoesNotAllowThem) {
  wait_known();
  fleet_.lab().homeport_checked("path limit all --no-relays");
  wait_for([](const ClassView& it) { return it.good_relays.empty(); }, "it to be heeded");
  cut(true);
  wait_for([](const ClassView& it) { return it.state == "idle"; }, "no path to be usable");
}

TEST_P(RelayedPaths, AnApplicationThatMovesToTheHostThatRelaysLosesNothing) {
  wait_known();
  cut(true);
  wait_through("hostB");
  auto flow = fleet_.start_flow(1000);
  const MoveOutcome move = fleet_.move(relay_);
  EXPECT_EQ(move.task.state, "succeeded") << move.err;
  flow->wait_progress(2000, 20s);
  const FlowReport report = flow->finish();
  EXPECT_EQ(report.lost, 0u) << report.to_string();
  cut(false);
  fleet_.wait_settled(relay_, 60s);
}

class WithoutARelay : public RelayedPaths {
 protected:
  WithoutARelay() : RelayedPaths("") {}
};

TEST_P(WithoutARelay, NothingIsNegotiatedAndNothingArrives) {
  auto flow = fleet_.start_flow(1000);
  cut(true);
  flow->wait_sent(1500, 20s);
  EXPECT_TRUE(body_of(source_.get("/v1/paths")).at("peers").as_array().empty());
  cut(false);
  flow->wait_progress(1000, 20s);
  EXPECT_GE(flow->finish().lost, 1000u);
}

const auto name_of = [](const auto& each) {
  return each.param.empty() ? std::string("Ebpf") : "OvsAt" + each.param;
};
INSTANTIATE_TEST_SUITE_P(Fleets, RelayedPaths, testing::Values("", "ABC"), name_of);
INSTANTIATE_TEST_SUITE_P(Fleets, WithoutARelay, testing::Values(""), name_of);

}  // namespace
}  // namespace homeport::lab
