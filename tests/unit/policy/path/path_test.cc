// Paths and classes by name, and the names of everything that is told of them.
#include "policy/path/path.h"

#include "policy/path/chooser.h"
#include "policy/path/explain.h"
#include "tests/unit/policy/path/paths.h"

#include <gtest/gtest.h>

#include <set>
#include <string_view>

namespace homeport::policy {
namespace {

TEST(TrafficClass, IsReadAsItIsWritten) {
  for (TrafficClass traffic : kTrafficClasses) {
    EXPECT_EQ(parse_traffic_class(to_string(traffic)), traffic);
  }
  EXPECT_EQ(parse_traffic_class("default"), TrafficClass::best_effort);
  EXPECT_EQ(parse_traffic_class("Default"), std::nullopt);
  EXPECT_EQ(parse_traffic_class(""), std::nullopt);
}

TEST(PathId, IsWrittenTheSameAtBothEnds) {
  EXPECT_EQ(side_of("hostA", "hostB"), Side::first);
  EXPECT_EQ(side_of("hostB", "hostA"), Side::second);
  const PathId path = path_of("192.0.2.1", "192.0.2.2", "hostC");
  EXPECT_EQ(to_string(path), "192.0.2.1 - 192.0.2.2 through hostC");
  EXPECT_EQ(path.at(Side::first).to_string(), "192.0.2.1");
  EXPECT_EQ(path.at(other(Side::first)).to_string(), "192.0.2.2");
}

// How many values of the enumeration have a name; each has one of its own.
template <class Enum>
int names() {
  std::set<std::string_view> names;
  int count = 0;
  while (to_string(static_cast<Enum>(count)) != "unknown") {
    names.insert(to_string(static_cast<Enum>(count++)));
  }
  EXPECT_EQ(names.size(), static_cast<std::size_t>(count));
  return count;
}

TEST(Names, EverythingHasOne) {
  EXPECT_EQ(names<TrafficClass>(), 3);
  EXPECT_EQ(names<Standing>(), 6);
  EXPECT_EQ(names<Obstacle>(), 11);
  EXPECT_EQ(names<Criterion>(), 8);
  EXPECT_EQ(names<Remedy>(), 11);
  EXPECT_EQ(names<ChoiceCause>(), 9);
}

}  // namespace
}  // namespace homeport::policy
