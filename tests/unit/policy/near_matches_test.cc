#include "policy/near_matches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace homeport::policy {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(NearMatches, AreRankedByDistanceAndThreeAtMost) {
  EXPECT_THAT(near_matches("vm1", {"vm12", "vm1a", "vm2", "vm3", "db"}),
              ElementsAre("vm12", "vm1a", "vm2"));
}

TEST(NearMatches, AreAFewEditsAway) {
  EXPECT_THAT(near_matches("moev", {"move"}), ElementsAre("move"));  // a swap is one
  EXPECT_THAT(near_matches("log_levle", {"log_format", "log_level"}), ElementsAre("log_level"));
  EXPECT_THAT(near_matches("colour", {"host", "limits"}), IsEmpty());
  EXPECT_THAT(near_matches("ab", {"cd"}), IsEmpty());
  EXPECT_THAT(near_matches("", {"abc"}), IsEmpty());
  EXPECT_THAT(near_matches("abc", {}), IsEmpty());
}

TEST(NearMatches, AreWhatIsAbbreviated) {
  EXPECT_THAT(near_matches("web", {"web-frontend-1"}), ElementsAre("web-frontend-1"));
  EXPECT_THAT(near_matches("w", {"web-frontend-1"}), IsEmpty());
}

}  // namespace
}  // namespace homeport::policy
