// The move's two state machines: the table of what follows what, and a model of both hosts and the
// control database in which everything fails at random and the guest must stay in one place.
#include "migration/move/destination_machine.h"
#include "migration/move/source_machine.h"

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <vector>

namespace homeport::migration {
namespace {

using Action = SourceAction;
using Event = SourceEvent;
using State = SourceState;

SourceMachine after(std::vector<Event> events) {
  SourceMachine machine;
  for (Event event : events) machine.on(event);
  return machine;
}

std::vector<Event> times(std::size_t n, Event event) {
  return std::vector<Event>(n, event);
}

TEST(SourceMachine, GoesThroughTheStepsInOrder) {
  SourceMachine machine;
  const std::vector<Action> order = {Action::prepare_destination,
                                     Action::copy_rounds,
                                     Action::check_session,
                                     Action::redirect,
                                     Action::drain_receive_queue,
                                     Action::stop_guest,
                                     Action::copy_rest,
                                     Action::send_device_state,
                                     Action::commit,
                                     Action::hand_over,
                                     Action::settle};
  for (Action action : order) {
    EXPECT_EQ(machine.action(), action);
    machine.on(Event::done);
  }
  EXPECT_EQ(machine.action(), Action::finish);
  EXPECT_EQ(machine.outcome(), SourceOutcome::succeeded);
}

struct Failure {
  std::size_t steps_done;
  Action then;
};

class SourceFailure : public testing::TestWithParam<Failure> {};

TEST_P(SourceFailure, GoesBackTheWayItCame) {
  SourceMachine machine = after(times(GetParam().steps_done, Event::done));
  machine.on(Event::failed);
  EXPECT_EQ(machine.action(), GetParam().then);
  while (machine.action() != Action::finish) machine.on(Event::done);
  EXPECT_EQ(machine.outcome(), SourceOutcome::rolled_back);
}

INSTANTIATE_TEST_SUITE_P(
    Steps, SourceFailure,
    testing::Values(Failure{0, Action::abort_destination}, Failure{1, Action::reinstate},
                    Failure{2, Action::reinstate}, Failure{3, Action::reinstate},
                    Failure{4, Action::reinstate}, Failure{5, Action::reinstate},
                    Failure{6, Action::reinstate}, Failure{7, Action::reinstate},
                    Failure{8, Action::reinstate}));

std::vector<Action> steps_of_ports() {
  return {Action::prepare_destination,
          Action::check_session,
          Action::redirect,
          Action::drain_receive_queue,
          Action::send_device_state,
          Action::commit,
          Action::hand_over,
          Action::settle};
}

TEST(SourceMachine, PortsHaveNoMemoryAndNothingToStop) {
  SourceMachine machine(Cargo::ports);
  for (Action action : steps_of_ports()) {
    EXPECT_EQ(machine.action(), action);
    machine.on(Event::done);
  }
  EXPECT_EQ(machine.outcome(), SourceOutcome::succeeded);
}

TEST(SourceMachine, PortsThatCannotBeCommittedGoBack) {
  const std::size_t to_commit = 5;
  for (std::size_t done = 0; done <= to_commit; ++done) {
    SCOPED_TRACE(done);
    SourceMachine machine(Cargo::ports);
    for (std::size_t i = 0; i < done; ++i) machine.on(Event::done);
    machine.on(Event::failed);
    if (done > 0) {
      EXPECT_EQ(machine.action(), Action::reinstate);
      machine.on(Event::done);
    }
    EXPECT_EQ(machine.action(), Action::abort_destination);
    // Once it was asked whether it is ready, a destination that is silent may hold.
    machine.on(Event::failed);
    EXPECT_EQ(machine.action(), done >= 4 ? Action::advance_generation : Action::finish);
    machine.on(Event::done);
    EXPECT_EQ(machine.outcome(), SourceOutcome::rolled_back);
  }
}

TEST(SourceMachine, AnUnknownCommitIsResolvedBeforeAnybodyRuns) {
  auto events = times(8, Event::done);
  events.push_back(Event::unknown);
  SourceMachine machine = after(events);
  EXPECT_EQ(machine.state(), State::resolving);
  EXPECT_FALSE(machine.cancellable());

  SourceMachine moved = machine;
  moved.on(Event::moved);
  EXPECT_EQ(moved.action(), Action::hand_over);

  SourceMachine ours = machine;
  ours.on(Event::not_moved);
  EXPECT_EQ(ours.action(), Action::reinstate);

  machine.on(Event::failed);
  EXPECT_EQ(machine.outcome(), SourceOutcome::in_doubt);
}

TEST(SourceMachine, AHoldingDestinationThatDidNotAnswerIsReleasedByANewGeneration) {
  auto events = times(7, Event::done);
  events.insert(events.end(), {Event::failed, Event::done, Event::failed});
  EXPECT_EQ(after(events).action(), Action::advance_generation);
}

TEST(SourceMachine, ADestinationThatCannotHoldNeedsNoNewGeneration) {
  SourceMachine machine = after({Event::done, Event::failed, Event::done, Event::failed});
  EXPECT_EQ(machine.action(), Action::finish);
}

TEST(SourceMachine, ARecoveredMoveRunsAtOnceOnlyBeforeTheCommitWasSent) {
  EXPECT_EQ(SourceMachine::recovered(false).action(), Action::reinstate);
  EXPECT_EQ(SourceMachine::recovered(true).action(), Action::resolve_commit);
}

TEST(DestinationMachine, HoldsWhateverHappensToTheChannel) {
  DestinationMachine machine;
  EXPECT_EQ(machine.on(DestinationEvent::loaded), DestinationAction::say_ready);
  EXPECT_EQ(machine.on(DestinationEvent::channel_lost), DestinationAction::none);
  EXPECT_EQ(machine.on(DestinationEvent::failed), DestinationAction::none);
  EXPECT_EQ(machine.state(), DestinationState::holding);
  EXPECT_EQ(machine.on(DestinationEvent::owner_is_here), DestinationAction::activate);
  EXPECT_TRUE(machine.activated());
  EXPECT_EQ(machine.on(DestinationEvent::called_off), DestinationAction::none);
}

TEST(DestinationMachine, CleansUpAloneBeforeItIsReady) {
  for (auto event :
       {DestinationEvent::channel_lost, DestinationEvent::failed, DestinationEvent::called_off}) {
    DestinationMachine machine;
    EXPECT_EQ(machine.on(event), DestinationAction::discard);
    EXPECT_EQ(machine.on(DestinationEvent::told_to_resume), DestinationAction::none);
  }
}

// Two hosts, one database, everything fails at random. The invariant is checked after each step.
class Model {
 public:
  Model(unsigned seed, Cargo cargo) : random_(seed), cargo_(cargo), source_(cargo) {}

  void run() {
    for (int step = 0; step < 200; ++step) {
      faults_ = step < 60;  // then everything that failed comes back and the move comes to an end
      act();
      ASSERT_FALSE(source_runs_ && destination_runs_) << "two owners after step " << step;
    }
    ASSERT_NE(source_runs_, destination_runs_) << "the guest runs nowhere";
    ASSERT_EQ(destination_runs_, at_destination_) << "the database names another host";
  }

 private:
  bool chance(double probability) {
    return faults_ && std::uniform_real_distribution<>(0, 1)(random_) < probability;
  }

  void act() {
    if (late_commit_ && chance(0.3)) apply_late_commit();
    if (chance(0.05)) restart_source();
    if (chance(0.05)) restart_destination();
    if (chance(0.1)) tell(DestinationEvent::channel_lost);
    if (generation_ > 1 && !chance(0.5)) {
      tell(at_destination_ ? DestinationEvent::owner_is_here : DestinationEvent::owner_elsewhere);
    }
    if (source_.action() == Action::finish) return;
    if (auto event = source_act()) source_.on(*event);
  }

  void apply_late_commit() {
    late_commit_ = false;
    commit();
  }

  bool commit() {  // the conditional transaction
    if (at_destination_ || generation_ != 1) return false;
    at_destination_ = true;
    ++generation_;
    return true;
  }

  void restart_source() {
    if (source_.action() == Action::finish || source_.state() == State::preparing) return;
    source_ = SourceMachine::recovered(commit_sent_, cargo_);
  }

  void restart_destination() {
    if (!destination_ || destination_->state() != DestinationState::receiving) return;
    tell(DestinationEvent::channel_lost);  // what is found without having been ready is removed
  }

  void tell(DestinationEvent event) {
    if (!destination_) return;
    switch (destination_->on(event)) {
      case DestinationAction::activate:
        if (chance(0.2)) {  // it cannot run there: it is handed back
          at_destination_ = false;
          ++generation_;
        } else {
          destination_runs_ = true;
        }
        [[fallthrough]];
      case DestinationAction::discard:
        destination_->on(DestinationEvent::carried_out);
        break;
      default:
        break;
    }
  }

  /// Nothing: the step goes on.
  std::optional<Event> source_act() {
    switch (source_.action()) {
      case Action::prepare_destination:
        if (chance(0.1)) return Event::failed;
        destination_.emplace();
        return Event::done;
      case Action::redirect:  // of a port, its traffic is what runs
        if (cargo_ == Cargo::ports) source_runs_ = false;
        return chance(0.1) ? Event::failed : Event::done;
      case Action::stop_guest:
        source_runs_ = false;
        return chance(0.1) ? Event::failed : Event::done;
      case Action::send_device_state:
        if (chance(0.2)) return Event::failed;
        tell(DestinationEvent::loaded);
        if (chance(0.2)) return Event::failed;  // Ready was said but not heard
        return destination_->state() == DestinationState::holding ? Event::done : Event::failed;
      case Action::commit:
        commit_sent_ = true;
        if (chance(0.2)) {
          late_commit_ = true;
          return Event::unknown;
        }
        if (!commit()) return Event::unknown;  // refused: read again what is true
        return chance(0.3) ? Event::unknown : Event::done;
      case Action::resolve_commit:
        if (at_destination_) return Event::moved;
        ++generation_;
        return Event::not_moved;
      case Action::hand_over:
        tell(chance(0.3) ? DestinationEvent::channel_lost : DestinationEvent::told_to_resume);
        if (!at_destination_) return Event::not_moved;
        if (destination_runs_) return Event::done;
        return std::nullopt;
      case Action::reinstate:
        source_runs_ = true;
        return Event::done;
      case Action::abort_destination:
        if (chance(0.4)) return Event::failed;
        tell(DestinationEvent::called_off);
        return Event::done;
      case Action::advance_generation:
        if (!at_destination_) ++generation_;
        return Event::done;
      case Action::settle:
        source_runs_ = false;
        return Event::done;
      default:
        return chance(0.05) ? Event::failed : Event::done;
    }
  }

  std::mt19937 random_;
  Cargo cargo_;
  bool faults_ = true;
  SourceMachine source_;
  std::optional<DestinationMachine> destination_;
  bool at_destination_ = false;
  unsigned generation_ = 1;
  bool commit_sent_ = false;
  bool late_commit_ = false;
  bool source_runs_ = true;
  bool destination_runs_ = false;
};

class MoveModel : public testing::TestWithParam<Cargo> {};

TEST_P(MoveModel, ItIsInExactlyOnePlaceWhateverFails) {
  for (unsigned seed = 0; seed < 20'000; ++seed) {
    SCOPED_TRACE(seed);
    Model(seed, GetParam()).run();
    if (testing::Test::HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Cargoes, MoveModel, testing::Values(Cargo::vm, Cargo::ports),
                         [](const auto& info) { return info.param == Cargo::vm ? "Vm" : "Ports"; });

}  // namespace
}  // namespace homeport::migration
