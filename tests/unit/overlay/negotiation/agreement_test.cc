// The table of what follows what: the drawing in agreement.h, arrow by arrow.
#include "overlay/negotiation/agreement.h"

#include "tests/unit/policy/path/paths.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace homeport::overlay {
namespace {

using namespace std::chrono_literals;
using policy::at;
using policy::ChoiceCause;
using policy::PathId;
using policy::RankedPath;
using policy::Standing;
using State = AgreementState;

const PathId kOne = policy::path_of("192.0.2.1", "198.51.100.1");
const PathId kTwo = policy::path_of("192.0.2.2", "198.51.100.1");

RankedPath good(const PathId& path, policy::Micros counted) {
  return {.path = path, .counted = counted};
}
RankedPath broken(const PathId& path) {
  return {.path = path,
          .standing = Standing::excluded,
          .obstacle = policy::Obstacle::broken,
          .broken = true};
}
RankedPath forbidden(const PathId& path) {
  return {.path = path, .standing = Standing::excluded, .obstacle = policy::Obstacle::forbidden};
}

const std::vector<RankedPath> kBoth = {good(kOne, 10ms), good(kTwo, 20ms)};
const std::vector<RankedPath> kTwoIsBetter = {good(kTwo, 5ms), good(kOne, 10ms)};
const std::vector<RankedPath> kOneIsBroken = {good(kTwo, 20ms), broken(kOne)};
const std::vector<RankedPath> kNoneCarries = {broken(kOne), broken(kTwo)};
const std::vector<RankedPath> kOneIsForbidden = {good(kTwo, 20ms), forbidden(kOne)};
const std::vector<RankedPath> kTwoIsPinned = {
    {.path = kTwo, .standing = Standing::pinned, .counted = 20ms}, good(kOne, 10ms)};

// One look: how things stand then, and what comes of it.
struct Step {
  std::string what;
  policy::Micros time;
  std::vector<RankedPath> ranked;
  PathChoice theirs;
  State state;
  PathChoice choice;
  ChoiceCause cause = ChoiceCause::unchanged;
};

void walk(AgreementRole role, const std::vector<Step>& steps) {
  Agreement agreement(role, {});
  std::uint64_t nomination = 0;
  for (const Step& step : steps) {
    SCOPED_TRACE(step.what);
    const ChoiceCause cause =
        agreement.review(at(step.time), step.ranked, step.theirs, ++nomination);
    EXPECT_EQ(to_string(cause), to_string(step.cause));
    EXPECT_EQ(to_string(agreement.state()), to_string(step.state));
    EXPECT_EQ(agreement.choice(), step.choice);
  }
}

TEST(Agreement, OfTheHostThatControls) {
  walk(AgreementRole::controlling,
       {{"nothing is known", 0s, {}, {}, State::idle, {}},
        {"nothing carries", 0s, kNoneCarries, {}, State::idle, {}},
        {"a first path", 0s, kBoth, {}, State::nominated, {3, kOne}, ChoiceCause::first},
        {"the other is silent", 1s, kBoth, {}, State::nominated, {3, kOne}},
        {"it still is", 9s, kTwoIsBetter, {}, State::nominated, {3, kOne}},
        {"something is better, and proven", 9'500ms, kTwoIsBetter, {}, State::nominated, {3, kOne}},
        {"it uses that path without knowing", 10s, kBoth, {0, kOne}, State::nominated, {3, kOne}},
        {"it follows", 10s, kBoth, {3, kOne}, State::agreed, {3, kOne}},
        {"something is better", 20s, kTwoIsBetter, {3, kOne}, State::agreed, {3, kOne}},
        {"and is proven",
         21s,
         kTwoIsBetter,
         {3, kOne},
         State::nominated,
         {10, kTwo},
         ChoiceCause::better},
        {"it follows", 21s, kTwoIsBetter, {10, kTwo}, State::agreed, {10, kTwo}},
        {"the path is lost",
         22s,
         {good(kOne, 9ms), broken(kTwo)},
         {10, kTwo},
         State::nominated,
         {12, kOne},
         ChoiceCause::lost},
        {"the next as well, before it follows",
         22s,
         kOneIsBroken,
         {10, kTwo},
         State::nominated,
         {13, kTwo},
         ChoiceCause::lost},
        {"it follows", 22s, kOneIsBroken, {13, kTwo}, State::agreed, {13, kTwo}},
        {"nothing carries any more",
         23s,
         kNoneCarries,
         {13, kTwo},
         State::idle,
         {15, std::nullopt},
         ChoiceCause::nothing_usable},
        {"but the other's does again",
         24s,
         kBoth,
         {15, kOne},
         State::nominated,
         {16, kOne},
         ChoiceCause::first},
        {"another is pinned before it follows",
         24s,
         kTwoIsPinned,
         {15, kOne},
         State::nominated,
         {17, kTwo},
         ChoiceCause::pinned}});
}

TEST(Agreement, OfTheHostThatControlsTakesUpWhatTheOtherUses) {
  const std::vector<RankedPath> alike = {good(kOne, 10ms), good(kTwo, 10'100us)};
  walk(AgreementRole::controlling, {{"it has started again",
                                     0s,
                                     alike,
                                     {0, kTwo},
                                     State::nominated,
                                     {1, kTwo},
                                     ChoiceCause::first}});
}

TEST(Agreement, IsTakenUpAgainWhereItWasLeft) {
  Agreement agreement(AgreementRole::controlling, {});
  agreement.adopt(at(0s), kTwo);
  EXPECT_EQ(agreement.choice(), (PathChoice{0, kTwo}));
  EXPECT_EQ(agreement.review(at(0s), kBoth, {}, 7), ChoiceCause::unchanged);
  EXPECT_EQ(agreement.choice(), (PathChoice{7, kTwo})) << "now it is nominated";
  EXPECT_EQ(agreement.state(), State::nominated);
}

TEST(Agreement, OfTheHostThatFollows) {
  walk(
      AgreementRole::following,
      {{"nothing is known", 0s, {}, {}, State::idle, {}},
       {"nothing is nominated yet", 0s, kBoth, {}, State::apart, {0, kOne}, ChoiceCause::first},
       {"the same is", 0s, kBoth, {3, kOne}, State::agreed, {3, kOne}},
       {"another is", 0s, kBoth, {4, kTwo}, State::agreed, {4, kTwo}, ChoiceCause::agreement},
       {"it finds that poor", 9s, kBoth, {4, kTwo}, State::agreed, {4, kTwo}},
       {"it is broken",
        9s,
        {good(kOne, 9ms), broken(kTwo)},
        {4, kTwo},
        State::apart,
        {4, kOne},
        ChoiceCause::lost},
       {"it carries again", 9s, kBoth, {4, kTwo}, State::agreed, {4, kTwo}, ChoiceCause::agreement},
       {"it is not offered",
        9s,
        {good(kOne, 9ms)},
        {4, kTwo},
        State::apart,
        {4, kOne},
        ChoiceCause::lost},
       {"nothing carries",
        9s,
        kNoneCarries,
        {4, kTwo},
        State::idle,
        {4, std::nullopt},
        ChoiceCause::nothing_usable},
       {"something does", 9s, kBoth, {5, kOne}, State::agreed, {5, kOne}, ChoiceCause::agreement},
       {"its own policy is another", 9s, kOneIsForbidden, {5, kOne}, State::agreed, {5, kOne}},
       {"nothing is nominated any more",
        9s,
        kBoth,
        {6, std::nullopt},
        State::idle,
        {6, std::nullopt},
        ChoiceCause::agreement},
       {"another is", 9s, kBoth, {7, kTwo}, State::agreed, {7, kTwo}, ChoiceCause::agreement},
       {"the other has started again", 9s, kBoth, {0, std::nullopt}, State::apart, {0, kTwo}}});
}

TEST(Agreement, LooksAgainWhenABetterPathIsProven) {
  Agreement agreement(AgreementRole::controlling, {});
  agreement.review(at(0s), kBoth, {}, 1);
  agreement.review(at(9s), kTwoIsBetter, {}, 2);
  EXPECT_EQ(agreement.next_look(), policy::Time::max()) << "not before the other follows";
  agreement.review(at(9s), kTwoIsBetter, {1, kOne}, 2);
  EXPECT_EQ(agreement.next_look(), at(9'300ms));
}

}  // namespace
}  // namespace homeport::overlay
