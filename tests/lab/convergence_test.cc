// A guest that writes faster than the link carries: what its policy says is done.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lab/fleet.h"

namespace homeport::lab {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class Convergence : public testing::Test {
 protected:
  Convergence() {
    fleet_.guest().write_memory(64, 48, 60);
    before_ = fleet_.guest().status();
  }

  MoveOutcome move_by(const std::string& policy, const std::string& convergence) {
    fleet_.lab().homeport_checked("policy set " + policy +
                                  " --downtime-limit 200 --copy-timeout 6 --convergence " +
                                  convergence);
    return fleet_.move(fleet_.b(), 120s, "--policy " + policy);
  }

  void expect_same_guest() {
    fleet_.guest().check_memory();
    const GuestStatus now = fleet_.guest().status();
    EXPECT_EQ(now.boot_id, before_.boot_id);
    EXPECT_EQ(now.memory_mismatches, 0u);
  }

  Fleet fleet_{{.name = "convergence", .rate_mbit = 200}};
  GuestStatus before_;
};

TEST_F(Convergence, IsAsThePolicySays) {
  const MoveOutcome back = move_by("careful", "rollback");
  EXPECT_EQ(back.status, 1);
  EXPECT_EQ(back.task.state, "rolled-back");
  EXPECT_THAT(back.task.error, HasSubstr("the limit is 200 ms"));
  fleet_.wait_settled(fleet_.a());
  expect_same_guest();

  const MoveOutcome forced = move_by("firm", "force");
  EXPECT_EQ(forced.status, 0) << forced.err;
  EXPECT_EQ(forced.task.state, "succeeded");
  EXPECT_GT(forced.task.downtime_ms, 200u);
  fleet_.wait_settled(fleet_.b());
  expect_same_guest();
  EXPECT_THAT(fleet_.lab().complaints({"the limit is 200 ms"}), IsEmpty());
}

}  // namespace
}  // namespace homeport::lab
