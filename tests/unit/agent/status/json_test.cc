#include "agent/status/json.h"

#include "tests/unit/agent/status/fixed_model.h"

#include <gtest/gtest.h>
#include <boost/json.hpp>

namespace homeport::agent {
namespace {

namespace json = boost::json;

class StatusJson : public ::testing::Test {
 protected:
  // Through text and back: what a client sees.
  json::value parsed_ = json::parse(json::serialize(to_json(test::fixed_model())));

  json::value at(const char* pointer) { return parsed_.at_pointer(pointer); }
};

TEST_F(StatusJson, CarriesTheAgentAndItsTimes) {
  EXPECT_EQ(at("/host"), "hostA");
  EXPECT_EQ(at("/started"), "2025-12-31T23:59:58.250Z");
  EXPECT_EQ(at("/time"), "2026-01-01T00:01:28.250Z");
  EXPECT_EQ(at("/uptime_seconds"), 90);
  EXPECT_EQ(at("/ready"), true);
  EXPECT_EQ(at("/database/state"), "synchronized");
}

TEST_F(StatusJson, WhatIsNotKnownIsNull) {
  EXPECT_TRUE(at("/peers/1/last_seen").is_null());
  EXPECT_TRUE(at("/networks/1/mtu").is_null());
  EXPECT_TRUE(at("/applications/1/location").is_null());
  EXPECT_TRUE(at("/tasks/0/finished").is_null());
  EXPECT_TRUE(at("/tasks/0/downtime_ms").is_null());
}

TEST_F(StatusJson, CarriesApplicationsWithTheirPorts) {
  EXPECT_EQ(at("/applications/0/generation"), 7);
  EXPECT_EQ(at("/applications/0/ports/0/mac"), "02:00:00:00:00:01");
  EXPECT_EQ(at("/applications/0/ports/0/prior_addresses/1"), "fd01::10");
  EXPECT_EQ(at("/applications/0/ports/0/traffic/received_bytes"), 18'000'000'000'000'000'000u);
  EXPECT_EQ(at("/applications/1/name"), "a\"b\\c\nd");
}

TEST_F(StatusJson, CarriesTasksDatapathAndHistory) {
  EXPECT_EQ(at("/tasks/0/phase"), "copying");
  EXPECT_EQ(at("/tasks/0/bytes_per_second"), 50'000'000);
  EXPECT_EQ(at("/tasks/0/eta_ms"), 10'700);
  EXPECT_EQ(at("/tasks/0/lanes/0/local"), "192.0.2.1");
  EXPECT_TRUE(at("/tasks/0/lanes/0/relay").is_null());
  EXPECT_EQ(at("/tasks/0/lanes/0/bytes_per_second"), 40'000'000);
  EXPECT_TRUE(at("/tasks/0/lanes/1/local").is_null());
  EXPECT_EQ(at("/tasks/0/lanes/1/state"), "given-up");
  EXPECT_EQ(at("/datapath/dropped_packets/unknown_port"), 6);
  EXPECT_EQ(at("/moves/ended/rolled-back"), 1);
  EXPECT_EQ(at("/moves/worst_downtime_ms"), 150);
}

TEST(StatusJsonReadiness, NamesTheReasons) {
  StatusModel model = test::fixed_model();
  model.not_ready = {"The control database is away."};
  EXPECT_EQ(to_json(model).at("ready"), false);
  EXPECT_EQ(to_json(model).at("not_ready").at(0), "The control database is away.");
}

TEST(Rfc3339, RoundsDownAlsoBefore1970) {
  EXPECT_EQ(to_rfc3339(SystemTime(std::chrono::milliseconds(0))), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(to_rfc3339(SystemTime(std::chrono::milliseconds(-1))), "1969-12-31T23:59:59.999Z");
}

}  // namespace
}  // namespace homeport::agent
