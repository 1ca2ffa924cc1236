#include "policy/path/explain.h"

#include "tests/unit/policy/path/paths.h"

#include <gtest/gtest.h>

namespace homeport::policy {
namespace {

using namespace std::chrono_literals;

RankedPath ranked(int number, Micros counted) {
  return {.path = path_of("192.0.2." + std::to_string(number), "198.51.100.1"), .counted = counted};
}

TEST(Explain, SaysByHowMuchTheFirstIsFaster) {
  const std::vector<RankedPath> paths = {ranked(1, 10ms), ranked(2, 12ms), ranked(3, 30ms)};
  const Explanation first = explain(paths, 0);
  EXPECT_EQ(first.other, paths[1].path);
  EXPECT_EQ(first.decided_by, Criterion::time);
  EXPECT_EQ(first.own, 10'000u);
  EXPECT_EQ(first.theirs, 12'000u);
  EXPECT_EQ(first.remedy, Remedy::be_faster);
  EXPECT_EQ(first.target, 10'000u);

  const Explanation third = explain(paths, 2);
  EXPECT_EQ(third.other, paths[0].path) << "each is compared with the one that is used";
  EXPECT_EQ(third.own, 30'000u);
  EXPECT_EQ(third.target, 10'000u);
}

struct Case {
  RankedPath behind;
  Remedy remedy;
  std::uint64_t target = 0;
};

TEST(Explain, SaysWhatWouldChangeIt) {
  const auto with = [](Standing standing, Obstacle obstacle, std::uint64_t limit = 0) {
    RankedPath path = ranked(2, 5ms);
    path.standing = standing;
    path.obstacle = obstacle;
    path.limit = limit;
    return path;
  };
  const Case cases[] = {
      {with(Standing::excluded, Obstacle::forbidden), Remedy::allow},
      {with(Standing::excluded, Obstacle::too_costly, 7), Remedy::allow, 7},
      {with(Standing::excluded, Obstacle::broken), Remedy::mend},
      {with(Standing::unmeasured, Obstacle::unmeasured), Remedy::measure},
      {with(Standing::damped, Obstacle::damped), Remedy::settle},
      {with(Standing::poor, Obstacle::lossy, 20'000), Remedy::meet_minimum, 20'000},
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(to_string(each.behind.obstacle));
    const Explanation why = explain(std::vector{ranked(1, 10ms), each.behind}, 1);
    EXPECT_EQ(why.decided_by, Criterion::standing);
    EXPECT_EQ(why.obstacle, each.behind.obstacle);
    EXPECT_EQ(why.remedy, each.remedy);
    EXPECT_EQ(why.target, each.target);
  }
}

TEST(Explain, NamesTheControllersPart) {
  RankedPath first = ranked(1, 10ms);
  first.preference = 5;
  const Explanation preferred = explain(std::vector{first, ranked(2, 5ms)}, 1);
  EXPECT_EQ(preferred.remedy, Remedy::prefer);
  EXPECT_EQ(preferred.target, 5u);
  first.standing = Standing::pinned;
  EXPECT_EQ(explain(std::vector{first, ranked(2, 5ms)}, 1).remedy, Remedy::pin_or_unpin);

  RankedPath dear = ranked(2, 10ms);
  dear.cost = 3;
  const Explanation cheaper = explain(std::vector{ranked(1, 10ms), dear}, 1);
  EXPECT_EQ(cheaper.decided_by, Criterion::cost);
  EXPECT_EQ(cheaper.remedy, Remedy::cost_less);
  EXPECT_EQ(explain(std::vector{ranked(1, 10ms), ranked(2, 10ms)}, 1).remedy,
            Remedy::any_difference);
}

TEST(Explain, NamesWhatDecidesBetweenPathsAsGoodAsEqual) {
  const auto decides = [](auto change) {
    RankedPath first = ranked(1, 10ms);
    change(first);
    return explain(std::vector{first, ranked(2, 10ms)}, 1);
  };
  const Explanation route = decides([](RankedPath& path) { path.default_routes = 2; });
  EXPECT_EQ(route.decided_by, Criterion::default_route);
  EXPECT_EQ(route.theirs, 2u);
  const Explanation speed = decides([](RankedPath& path) { path.speed = 1000; });
  EXPECT_EQ(speed.decided_by, Criterion::speed);
  EXPECT_EQ(speed.theirs, 1000u);
  EXPECT_EQ(decides([](RankedPath&) {}).decided_by, Criterion::address);
  for (const Explanation& why : {route, speed}) EXPECT_EQ(why.remedy, Remedy::any_difference);

  RankedPath relayed = ranked(2, 10ms);
  relayed.path.relay = "hostC";
  EXPECT_EQ(explain(std::vector{ranked(1, 10ms), relayed}, 1).decided_by, Criterion::directness);
}

TEST(Explain, APathAloneIsComparedWithNone) {
  EXPECT_EQ(explain(std::vector{ranked(1, 10ms)}, 0).other, std::nullopt);
  EXPECT_EQ(explain(std::vector{ranked(1, 10ms)}, 0).remedy, Remedy::none);
  RankedPath broken = ranked(1, 10ms);
  broken.standing = Standing::excluded;
  broken.obstacle = Obstacle::broken;
  EXPECT_EQ(explain(std::vector{broken}, 0).remedy, Remedy::mend);
}

TEST(Explain, OfTwoExcludedPathsBothHaveToBeMended) {
  RankedPath broken = ranked(1, 10ms);
  broken.standing = Standing::excluded;
  broken.obstacle = Obstacle::broken;
  RankedPath forbidden = ranked(2, 10ms);
  forbidden.standing = Standing::excluded;
  forbidden.obstacle = Obstacle::forbidden;
  const std::vector<RankedPath> paths = {broken, forbidden};
  EXPECT_EQ(explain(paths, 0).remedy, Remedy::mend);
  EXPECT_EQ(explain(paths, 1).remedy, Remedy::allow);
}

}  // namespace
}  // namespace homeport::policy
