// Moves that only a person can settle: what `homeport task resolve` does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "tests/lab/failure.h"
#include "tests/lab/fleet.h"

namespace homeport::lab {
namespace {

using testing::HasSubstr;

class Decision : public testing::Test {
 protected:
  /// Begins a move and holds the source at a step: at "commit" nobody knows of it yet, at
  /// "committed" the destination may have read it, and has not been told.
  void move_and_hold(const std::string& step) {
    fleet_.guest().write_memory(32, 4, 2);
    before_ = fleet_.guest().status();
    fleet_.a().hold_at(step);
    waiting_ = fleet_.start_move(fleet_.b());
    fleet_.a().wait_held();
  }

  void wait_in_doubt() {
    wait_until([&] { return fleet_.last_task().state == "in-doubt"; }, 60s, "the move in doubt",
               [&] { return fleet_.a().agent().log_tail(); });
    EXPECT_THAT(fleet_.last_task().error, HasSubstr("homeport task resolve"));
  }

  CommandResult decide(const std::string& winner) {
    return fleet_.lab().homeport("task resolve " + fleet_.last_task().id + " --to " + winner);
  }

  void expect_same_guest() {
    fleet_.guest().check_memory();
    const GuestStatus now = fleet_.guest().status();
    EXPECT_EQ(now.boot_id, before_.boot_id);
    EXPECT_GT(now.counter, before_.counter);
    EXPECT_EQ(now.memory_mismatches, 0u);
  }

  Fleet fleet_{{.name = "decision", .holdable = true}};
  GuestStatus before_;
  std::unique_ptr<Process> waiting_;
};

TEST_F(Decision, IsNobodysWhileTheOutcomeIsUnknown) {
  move_and_hold("commit");
  fleet_.lab().database().pause();
  fleet_.a().release();
  // Neither side may run the guest before the outcome can be read.
  EXPECT_THROW(fleet_.guest().ask("status", 2s), LabFailure);
  fleet_.lab().database().go_on();
  EXPECT_THAT(fleet_.wait_ended().state, testing::AnyOf("succeeded", "rolled-back"));
  fleet_.wait_settled(fleet_.wait_somewhere());
  expect_same_guest();
}

TEST_F(Decision, ForTheSourceWhenTheDestinationIsGone) {
  move_and_hold("committed");
  fleet_.b().kill_agent();
  ASSERT_TRUE(fleet_.b().signal_guest("vm1", SIGKILL));
  fleet_.a().release();
  wait_in_doubt();
  EXPECT_EQ(fleet_.lab().location("vm1"), "hostB");
  // The destination is left the time to answer for itself: it is asked again until it is silent.
  wait_until(
      [&] {
        const CommandResult decided = decide("source");
        EXPECT_EQ(decided.status, 0) << decided.err;
        return fleet_.lab().location("vm1") == "hostA";
      },
      60s, "the silent destination to lose the application");
  EXPECT_EQ(fleet_.wait_ended().state, "rolled-back");
  EXPECT_EQ(&fleet_.wait_somewhere(), &fleet_.a());
  expect_same_guest();

  fleet_.b().start_agent();
  fleet_.b().wait_ready();
  fleet_.wait_settled(fleet_.a());
  EXPECT_EQ(fleet_.move(fleet_.b()).status, 0);
  fleet_.wait_settled(fleet_.b());
  expect_same_guest();
}

// What was told to go on may do so at any time: it is not the source's again before that is
// certain.
TEST_F(Decision, ForTheSourceWhileTheDestinationHangs) {
  move_and_hold("commit");
  ASSERT_TRUE(fleet_.b().signal_guest("vm1", SIGSTOP));
  fleet_.a().release();
  wait_in_doubt();
  const CommandResult decided = decide("source");
  EXPECT_EQ(decided.status, 0) << decided.err;
  EXPECT_THROW(fleet_.guest().ask("status", 2s), LabFailure);
  EXPECT_EQ(fleet_.lab().location("vm1"), "hostB");
  ASSERT_TRUE(fleet_.b().signal_guest("vm1", SIGCONT));
  EXPECT_EQ(fleet_.wait_ended().state, "succeeded");
  EXPECT_EQ(&fleet_.wait_somewhere(), &fleet_.b());
  fleet_.wait_settled(fleet_.b());
  expect_same_guest();
}

TEST_F(Decision, ForTheDestinationThatTheSourceDoesNotHear) {
  move_and_hold("committed");
  fleet_.b().underlay().cut();
  fleet_.a().release();
  wait_in_doubt();
  EXPECT_GT(fleet_.a().guest_pid("vm1"), 0);  // held, should it be needed
  const CommandResult decided = decide("destination");
  EXPECT_EQ(decided.status, 0) << decided.err;
  EXPECT_EQ(fleet_.wait_ended().state, "succeeded");
  EXPECT_LT(fleet_.a().guest_pid("vm1"), 0);

  fleet_.b().underlay().restore();
  EXPECT_EQ(&fleet_.wait_somewhere(), &fleet_.b());
  fleet_.wait_settled(fleet_.b());
  expect_same_guest();
}

}  // namespace
}  // namespace homeport::lab
