#include "overlay/negotiation/own_reports.h"

#include "tests/unit/policy/path/paths.h"

#include <gtest/gtest.h>

namespace homeport::overlay {
namespace {

using namespace std::chrono_literals;
using policy::at;
using News = OwnReports::News;

const policy::PathId kPath = policy::path_of("192.0.2.1", "192.0.2.2");

class OwnReportsTest : public testing::Test {
 protected:
  void measure(policy::Micros time, const policy::PathQuality& quality) {
    own.measured({{.path = kPath, .quality = quality}}, at(time));
  }

  OwnReports own{{}, 5s};
};

TEST_F(OwnReportsTest, TellsWhatIsNewInTime) {
  EXPECT_EQ(own.news(at(1s)), News::none);
  measure(1s, policy::carrying(10ms));
  EXPECT_EQ(own.news(at(1s)), News::urgent) << "it carries";
  own.tell(at(1s));
  EXPECT_EQ(own.news(at(1s)), News::none);
  measure(2s, policy::carrying(11ms));
  EXPECT_EQ(own.news(at(2s)), News::none) << "as good as before";
  measure(3s, policy::carrying(30ms));
  EXPECT_EQ(own.news(at(3s)), News::soon);
  measure(4s, policy::not_carrying());
  EXPECT_EQ(own.news(at(4s)), News::urgent);
  own.tell(at(4s));
  own.measured({}, at(5s));
  EXPECT_EQ(own.news(at(5s)), News::urgent) << "nobody knows any more that it does not carry";
}

TEST_F(OwnReportsTest, WhatIsNotMeasuredAnyMoreIsUnknown) {
  measure(1s, policy::carrying(10ms));
  own.tell(at(1s));
  EXPECT_EQ(own.next_change(at(1s)), at(6s + 1us));
  EXPECT_TRUE(own.current(at(6s)).at(0).quality.measured());
  EXPECT_EQ(own.current(at(6s + 1us)).at(0).quality, policy::PathQuality());
  EXPECT_EQ(own.news(at(6s + 1us)), News::urgent);
}

TEST_F(OwnReportsTest, CountsFailuresAndNothingElse) {
  measure(1s, policy::not_carrying());
  measure(1s, {});
  measure(1s, policy::carrying(10ms));
  measure(1s, {});
  EXPECT_EQ(own.flaps().penalty(kPath, at(1s)), 0) << "unknown is no failure";
  measure(1s, policy::carrying(10ms));
  measure(1s, policy::not_carrying());
  measure(1s, policy::not_carrying());
  EXPECT_EQ(own.flaps().penalty(kPath, at(1s)), 1000) << "once";
  measure(1s, policy::carrying(10ms));
  own.measured({}, at(1s));
  EXPECT_EQ(own.flaps().penalty(kPath, at(1s)), 2000) << "its interface has gone";
  measure(1s, policy::carrying(10ms));
  EXPECT_TRUE(own.current(at(1s)).at(0).damped);
  own.tell(at(1s));
  EXPECT_EQ(own.next_change(at(1s)), at(6s + 1us)) << "then it will be old";
  measure(40s, policy::carrying(10ms));
  EXPECT_EQ(own.news(at(40s)), News::none);
  const policy::Time reuse = own.next_change(at(40s));
  EXPECT_LT(reuse, at(45s)) << "sooner than it is forgotten";
  EXPECT_FALSE(own.current(reuse).at(0).damped);
  EXPECT_EQ(own.news(reuse), News::urgent);
}

TEST_F(OwnReportsTest, AreBounded) {
  std::vector<policy::PathReport> reports;
  for (int i = 0; i < 100; ++i) {
    reports.push_back({.path = policy::path_of("192.0.2.1", "192.0.2." + std::to_string(i + 2))});
  }
  own.measured(reports, at(1s));
  EXPECT_EQ(own.current(at(1s)).size(), policy::kMostPaths);
}

}  // namespace
}  // namespace homeport::overlay
