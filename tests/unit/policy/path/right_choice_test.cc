// Over random matrices of links, measured by probes with all their noise, the path that is chosen
// is within a tenth of the best there is, in each class.
#include "tests/unit/policy/path/link_matrix.h"

#include <gtest/gtest.h>

#include <string>

namespace homeport::policy {
namespace {

using namespace std::chrono_literals;

class RightChoice : public testing::TestWithParam<unsigned> {};

// Two hundred matrices: each test takes twenty.
INSTANTIATE_TEST_SUITE_P(Seeds, RightChoice, testing::Range(0u, 10u));

TEST_P(RightChoice, IsWithinATenthOfTheBest) {
  for (unsigned seed = 20 * GetParam(); seed < 20 * GetParam() + 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    LinkMatrix matrix(seed);
    matrix.run(30s);
    for (TrafficClass traffic : kTrafficClasses) {
      EXPECT_LE(matrix.wrong_by(traffic), 1.1) << to_string(traffic);
    }
  }
}

}  // namespace
}  // namespace homeport::policy
