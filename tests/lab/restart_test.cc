// An agent is stopped, killed or replaced by another version: traffic does not notice.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "tests/lab/fleet.h"
#include "tests/lab/programs.h"

namespace homeport::lab {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

/// An emulated guest shares two processors with an agent that starts: 10 to 100 ms were measured,
/// more than 800 beside builds, with and without a restart. This is only to notice one that takes
/// traffic along. The tests of the datapath show that nothing is missed between two
/// packets.
constexpr double kLongestGapMs = 3000;
/// An agent that is asked to end does so within this, whatever it was at.
constexpr auto kEnds = 8s;

/// What the log says about what is done to it here.
const std::vector<std::string> kExpected = {"the agent of host[ABC] is being ended",
                                            "rolled-back",
                                            "is left to the next agent",
                                            "is not known; it is held",
                                            "it refuses this host",
                                            "of the channel protocol",
                                            "another agent is hostA already",
                                            "the datapath was changed from outside"};

class Restart : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    fleet_ = std::make_unique<Fleet>(FleetOptions{.name = "restart", .holdable = true});
  }
  static void TearDownTestSuite() { fleet_.reset(); }

  void SetUp() override { before_ = fleet_->guest().status(); }
  void TearDown() override {
    fleet_->lab().start_agents();
    fleet_->wait_settled(fleet_->wait_somewhere());
    const GuestStatus now = fleet_->guest().status();
    EXPECT_EQ(now.boot_id, before_.boot_id);
    EXPECT_GT(now.counter, before_.counter);
    EXPECT_EQ(now.memory_mismatches, 0u);
    EXPECT_THAT(fleet_->lab().complaints(kExpected), IsEmpty());
  }

  /// SIGTERM; how long it took to end. The status must be 0.
  static Clock::duration end(Host& host) {
    const auto asked = Clock::now();
    host.agent().send_signal(SIGTERM);
    EXPECT_EQ(host.agent().wait(kEnds), 0) << host.agent().log_tail();
    return Clock::now() - asked;
  }

  /// SIGTERM, and waits until it is heeded.
  static void ask_to_end(Host& host) {
    const std::size_t before = host.agent().log_size();
    host.agent().send_signal(SIGTERM);
    host.agent().wait_for_log("ending on signal", 5s, before);
  }

  static void start(Host& host, const std::string& program = {}) {
    host.start_agent(program);
    host.wait_ready(30s);
  }

  /// `homeport status` on that host, with the version it must say.
  static void expect_status(Host& host, const std::string& version) {
    const auto shown =
        run_checked(fleet_->lab().homeport_command("status"), {.inside = &host.inside()}, 10s);
    EXPECT_THAT(shown, AllOf(HasSubstr(host.name()), HasSubstr(version)));
    EXPECT_THAT(host.get("/v1/status"), AllOf(HasSubstr(" 200 "), HasSubstr(host.name())));
  }

  static std::unique_ptr<Fleet> fleet_;
  GuestStatus before_;
};

std::unique_ptr<Fleet> Restart::fleet_;

TEST_F(Restart, IsNotNoticedByTraffic) {
  Lab& lab = fleet_->lab();
  StreamClient stream(lab.client(), "10.1.0.5", lab.directory() / "stream.log");
  DatagramClient datagrams(lab.client(), "10.1.0.5", lab.directory() / "datagrams.log");
  stream.wait_progress(64 * 1024, 20s);
  datagrams.wait_progress(1000, 20s);

  struct Way {
    std::string name;
    void (*end)(Host&);
    std::string program, version;
    Host* host = nullptr;
    Clock::time_point from{}, to{};
  };
  const auto stop = [](Host& host) { end(host); };
  const auto kill = [](Host& host) { host.kill_agent(); };
  std::vector<Way> ways;
  ways.push_back({"nothing", [](Host&) {}, "", HOMEPORT_VERSION, &fleet_->a()});
  for (Host* host : {&fleet_->a(), &fleet_->c()}) {
    ways.push_back({"SIGTERM", stop, "", HOMEPORT_VERSION, host});
    ways.push_back({"kill -9", kill, "", HOMEPORT_VERSION, host});
    ways.push_back({"upgrade", stop, newer_homeportd_program(), "99.0", host});
    ways.push_back({"downgrade", kill, "", HOMEPORT_VERSION, host});
  }
  for (Way& way : ways) {
    way.from = Clock::now();
    way.end(*way.host);
    datagrams.wait_progress(500, 20s);  // without any agent there
    if (!way.host->agent_runs()) start(*way.host, way.program);
    datagrams.wait_progress(500, 20s);
    way.to = Clock::now();
    expect_status(*way.host, way.version);
  }
  stream.wait_progress(64 * 1024, 20s);
  const DatagramReport report = datagrams.finish();
  EXPECT_TRUE(stream.finish().survived);
  for (const Way& way : ways) {
    const DatagramWindow window = report.window(way.from, way.to);
    EXPECT_EQ(window.lost, 0u) << way.name << " on " << way.host->name();
    EXPECT_LT(window.longest_gap_ms, kLongestGapMs) << way.name << " on " << way.host->name();
    RecordProperty(way.host->name() + "_" + way.name + "_gap_ms",
                   static_cast<int>(window.longest_gap_ms));
  }
  EXPECT_EQ(report.all().lost, 0u) << locate_losses(report, lab.taps()).to_string();

  const MoveOutcome moved = fleet_->move(fleet_->other_than(fleet_->wait_somewhere()));
  EXPECT_EQ(moved.status, 0) << moved.err;
}

TEST_F(Restart, HostsOfTwoVersionsThatUnderstandEachOtherMove) {
  Host& here = fleet_->wait_somewhere();
  Host& there = fleet_->other_than(here);
  end(there);
  start(there, newer_homeportd_program());
  for (Host* to : {&there, &here}) {
    const MoveOutcome moved = fleet_->move(*to);
    EXPECT_EQ(moved.status, 0) << moved.err;
    fleet_->wait_settled(*to);
  }
  end(there);
}

TEST_F(Restart, HostsThatDoNotUnderstandEachOtherLeaveTheGuestWhereItIs) {
  Host& here = fleet_->wait_somewhere();
  Host& there = fleet_->other_than(here);
  end(there);
  start(there, apart_homeportd_program());
  const MoveOutcome refused = fleet_->move(there);
  EXPECT_NE(refused.status, 0);
  EXPECT_THAT(refused.task.error,
              AllOf(HasSubstr(here.name() + " speaks version 1 "), HasSubstr("version 1"),
                    HasSubstr(there.name() + " speaks versions 2 to 3"),
                    HasSubstr("software 100.0"), HasSubstr("upgrade one of them")));
  fleet_->wait_settled(here);
  end(there);
  start(there);
  const MoveOutcome moved = fleet_->move(there);
  EXPECT_EQ(moved.status, 0) << moved.err;
}

struct Meeting {
  std::string step;
  bool source;        ///< whose agent is asked to end while the source is held there
  std::string state;  ///< of the task afterwards
};

class EndDuringMove : public Restart, public testing::WithParamInterface<Meeting> {};

TEST_P(EndDuringMove, EndsItOrGoesBack) {
  const auto& [step, source, state] = GetParam();
  Host& here = fleet_->wait_somewhere();
  Host& there = fleet_->other_than(here);
  Host& ended = source ? here : there;
  here.hold_at(step);
  auto waiting = fleet_->start_move(there);
  here.wait_held();
  ask_to_end(ended);
  here.release();
  EXPECT_EQ(ended.agent().wait(kEnds), 0) << ended.agent().log_tail();

  // At rest without the agent that is gone.
  const TaskView task = fleet_->wait_ended(30s);
  EXPECT_EQ(task.state, state) << task.error;
  Host& now = state == "succeeded" ? there : here;
  EXPECT_EQ(&fleet_->wait_somewhere(), &now);
  // A destination is gone before the source asks what has happened.
  if (state == "rolled-back") {
    EXPECT_THAT(task.error, HasSubstr(source ? "the agent of " + ended.name() + " is being ended"
                                             : ended.name()));
  }
  start(ended);
  fleet_->wait_settled(now);
  const MoveOutcome next = fleet_->move(fleet_->other_than(now));
  EXPECT_EQ(next.status, 0) << next.err;
}

INSTANTIATE_TEST_SUITE_P(Steps, EndDuringMove,
                         testing::Values(Meeting{"copying", true, "rolled-back"},
                                         Meeting{"copying", false, "rolled-back"},
                                         Meeting{"stopped", true, "rolled-back"},
                                         Meeting{"stopped", false, "rolled-back"},
                                         Meeting{"committed", true, "succeeded"},
                                         Meeting{"committed", false, "succeeded"}),
                         [](const auto& info) {
                           return std::string(info.param.source ? "Source_" : "Destination_") +
                                  info.param.step;
                         });

TEST_F(Restart, WaitsUntilTheSourceKnowsThatItsGuestRunsHere) {
  Host& here = fleet_->wait_somewhere();
  Host& there = fleet_->other_than(here);
  const std::size_t before = there.agent().log_size();
  here.hold_at("committed");
  auto waiting = fleet_->start_move(there);
  here.wait_held();
  // The destination reads the commit in the database; the source has not told it yet.
  there.agent().wait_for_log("vm1 runs here, by generation", 10s, before);
  there.agent().send_signal(SIGTERM);
  there.agent().wait_for_log("at most for the moves under way", 5s, before);
  here.release();
  EXPECT_EQ(there.agent().wait(kEnds), 0) << there.agent().log_tail();
  EXPECT_EQ(fleet_->wait_ended(10s).state, "succeeded");
}

TEST_F(Restart, ThatIsStuckInAMoveIsTakenUpByTheNextAgent) {
  Host& here = fleet_->wait_somewhere();
  here.hold_at("stopped");
  auto waiting = fleet_->start_move(fleet_->other_than(here));
  here.wait_held();
  EXPECT_LT(end(here), kEnds);
  here.release();
  start(here);
  EXPECT_EQ(fleet_->wait_ended().state, "rolled-back");
  fleet_->wait_settled(here);
}

TEST_F(Restart, ThatIsAskedForTwiceDoesNotWait) {
  Host& here = fleet_->wait_somewhere();
  here.hold_at("commit-sent");
  auto waiting = fleet_->start_move(fleet_->other_than(here));
  here.wait_held();
  ask_to_end(here);
  EXPECT_LT(end(here), 3s);
  here.release();
  start(here);
  EXPECT_THAT(fleet_->wait_ended().state, testing::AnyOf("succeeded", "rolled-back"));
  fleet_->wait_settled(fleet_->wait_somewhere());
}

TEST_F(Restart, IsNotNeededForWhatSomebodyDeletesByHand) {
  Host& here = fleet_->wait_somewhere();
  Lab& lab = fleet_->lab();
  StreamClient stream(lab.client(), "10.1.0.5", lab.directory() / "deleted.log");
  const std::string tap = words(here.inside().ip("-o link show type tun")).at(1);
  const std::string device = tap.substr(0, tap.find(':'));
  struct Deed {
    std::string what;
    std::function<void()> act;
  };
  const std::vector<Deed> deeds = {
      {"the filter of " + device, [&] { here.inside().tc("qdisc del dev " + device + " clsact"); }},
      {"the filter of homeport0", [&] { here.inside().tc("qdisc del dev homeport0 clsact"); }},
      {"the device homeport0", [&] { here.inside().ip("link del homeport0"); }}};
  for (const Deed& deed : deeds) {
    stream.wait_progress(64 * 1024, 20s);
    deed.act();
    here.agent().wait_for_log(deed.what + " was missing", 5s);
  }
  stream.wait_progress(64 * 1024, 20s);
  EXPECT_TRUE(stream.finish().survived);
}

/// Replaces `from` by `to` in a host's configuration.
void configure(Host& host, const std::string& from, const std::string& to) {
  const auto file = host.directory() / "homeportd.toml";
  std::string text = read_text(file);
  ASSERT_NE(text.find(from), std::string::npos) << from << " in " << text;
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  write_text(file, text);
}

// A machine made from the image of another.
TEST_F(Restart, ByTheNameOfAHostThatLivesIsRefused) {
  Host& c = fleet_->c();
  const std::string as_it_was = read_text(c.directory() / "homeportd.toml");
  end(c);
  configure(c, "host = \"hostC\"", "host = \"hostA\"");
  configure(c, "/hostC.pem", "/hostA.pem");
  configure(c, "/hostC.key", "/hostA.key");
  c.start_agent();
  EXPECT_EQ(c.agent().wait(20s), 1);
  EXPECT_THAT(c.agent().log_tail(), HasSubstr("another agent is hostA already, at 172.31.0."));
  write_text(c.directory() / "homeportd.toml", as_it_was);
  start(c);
}

TEST_F(Restart, AtAnotherAddressAfterAKill) {
  Host& there = fleet_->other_than(fleet_->wait_somewhere());
  const std::string as_it_was = read_text(there.directory() / "homeportd.toml");
  there.kill_agent();
  configure(there, "\n[listen]\n", "\n[listen]\ncontrol = [\"127.0.0.1:6710\"]\n");
  start(there);
  end(there);
  write_text(there.directory() / "homeportd.toml", as_it_was);
  start(there);
}

}  // namespace
}  // namespace homeport::lab
