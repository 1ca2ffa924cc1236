// `homeport trace` through whole agents: every host on the way tells what its own tables say.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "overlay/datapath/ebpf/layout.h"
#include "tests/lab/fleet.h"
#include "tests/lab/programs.h"
#include "tests/lab/wait.h"

namespace homeport::lab {
namespace {

namespace json = boost::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::vector<std::string> kExpected = {"control database", "inactivity probe",
                                            "move: ", "task: move of", "changed from outside"};

class TraceLab : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    fleet_ = std::make_unique<Fleet>(
        FleetOptions{.name = "trace", .containers = true, .holdable = true});
  }
  static void TearDownTestSuite() { fleet_.reset(); }

  void TearDown() override {
    fleet_->lab().start_agents();
    fleet_->wait_settled(fleet_->wait_somewhere());
    EXPECT_THAT(fleet_->lab().complaints(kExpected), IsEmpty());
  }

  static Command command(const std::string& arguments) {
    Command command{homeport_program(), "trace"};
    for (auto& word : words(arguments)) command.push_back(std::move(word));
    return command;
  }
  /// By the agent of that host.
  static CommandResult run(const Host& host, const std::string& arguments) {
    return run_command(command(arguments), {.inside = &host.inside()});
  }
  static std::string page(const Host& host, const std::string& arguments) {
    const CommandResult result = run(host, arguments);
    EXPECT_EQ(result.status, 0) << result.out << result.err;
    return result.out;
  }
  static json::value trace(const Host& host, const std::string& arguments) {
    return json::parse(page(host, arguments + " --json"));
  }
  static std::vector<std::string> path(const json::value& trace) {
    std::vector<std::string> path;
    for (const json::value& host : trace.at("hosts").as_array()) {
      path.push_back(std::string(host.at("host").as_string()) + " " +
                     std::string(host.at("end").as_string()));
    }
    return path;
  }
  static std::vector<std::string> steps(const json::value& host) {
    std::vector<std::string> steps;
    for (const json::value& step : host.at("steps").as_array()) {
      steps.emplace_back(step.at("step").as_string());
    }
    return steps;
  }
  static std::uint64_t count(const json::value& host, const char* name) {
    const json::value& counts = host.at("counts");
    const json::value* count = counts.is_null() ? nullptr : counts.as_object().if_contains(name);
    return count ? count->to_number<std::uint64_t>() : 0;
  }

  /// How many programs count packets on this machine; the kernel keeps 15 bytes of their names.
  static std::size_t counting() {
    const std::string all = run_checked({"bpftool", "prog", "show"});
    std::size_t count = 0;
    for (std::size_t at = 0; (at = all.find("name hp_counted_from", at)) != std::string::npos;
         ++at) {
      ++count;
    }
    return count;
  }

  static std::unique_ptr<Fleet> fleet_;
};

std::unique_ptr<Fleet> TraceLab::fleet_;

TEST_F(TraceLab, FollowsAPacketToItsApplication) {
  Host& here = fleet_->wait_somewhere();
  for (const char* address : {"10.1.0.5", "fd01::5"}) {
    const json::value told = trace(fleet_->c(), std::string("client ") + address);
    ASSERT_THAT(path(told), ElementsAre("hostC sent", here.name() + " delivered"));
    EXPECT_THAT(steps(told.at("hosts").at(0)),
                ElementsAre("port", "neighbor", "source", "destination", "delivery"));
    EXPECT_THAT(steps(told.at("hosts").at(1)),
                ElementsAre("vtep", "source", "destination", "delivery"));
    // Whichever agent is asked.
    EXPECT_EQ(path(trace(fleet_->b(), std::string("client ") + address)), path(told));
  }
  const std::string text = page(fleet_->c(), "client 10.1.0.5");
  EXPECT_THAT(text, AllOf(HasSubstr("hostC sends it to " + here.name() + ".\n"),
                          HasSubstr(here.name() + " delivers it to app0.\n"),
                          HasSubstr("hp_addresses 100 52:54:00:00:01:05")));
}

TEST_F(TraceLab, FollowsWhatRoutersHostsAndGroupsDo) {
  Host& here = fleet_->wait_somewhere();
  EXPECT_THAT(path(trace(fleet_->c(), "host 10.1.0.5")),
              ElementsAre("hostC sent", here.name() + " delivered"));
  EXPECT_THAT(path(trace(fleet_->c(), "host 10.1.0.2 --at hostB")),
              ElementsAre("hostB sent", "hostC delivered"));
  const json::value back = trace(fleet_->c(), "vm1 10.1.0.2");
  ASSERT_THAT(path(back), ElementsAre(here.name() + " sent", "hostC delivered"));
  const std::string host_c(back.at("hosts").at(0).at("copies").at(0).at("vtep").as_string());
  EXPECT_THAT(path(trace(fleet_->c(), "vm1 " + host_c + " --protocol tcp")),
              ElementsAre(here.name() + " sent", "hostC stack"));
  EXPECT_THAT(path(trace(fleet_->c(), "client 10.1.0.254 --protocol icmp")),
              ElementsAre("hostC answered"));
  EXPECT_THAT(path(trace(fleet_->c(), "client 224.0.0.251")),
              ElementsAre("hostC copied", here.name() + " copied"));
  EXPECT_THAT(path(trace(fleet_->c(), "client 10.1.0.5 --length 9000")),
              ElementsAre("hostC answered"));
}

TEST_F(TraceLab, NamesWhyAPacketIsDropped) {
  const json::value nobody = trace(fleet_->c(), "client 10.1.0.99");
  ASSERT_THAT(path(nobody), ElementsAre("hostC dropped"));
  EXPECT_EQ(nobody.at("hosts").at(0).at("counters"), (json::array{"drop_unknown_neighbor"}));
  EXPECT_THAT(page(fleet_->c(), "client 172.31.0.3 --hops 1"),
              HasSubstr("hostC drops it (drop_expired).\n"));
  EXPECT_THAT(page(fleet_->c(), "client 172.31.0.3 --source 10.1.0.77"),
              HasSubstr("hostC drops it (drop_forged_source).\n"));
}

// From the controller's word to what each host's kernel has.
TEST_F(TraceLab, NamesTheRuleForAPort) {
  Host& here = fleet_->wait_somewhere();
  std::string seen;
  const auto class_of = [&](const std::string& question) {
    seen = page(fleet_->c(), question);
    const json::value told = trace(fleet_->c(), question);
    for (const json::value& step : told.at("hosts").at(0).at("steps").as_array()) {
      if (step.at("step") == "class") return std::string(step.at("found").as_string());
    }
    return std::string("none");
  };
  const auto wait_for = [&](const std::string& question, const std::string& expected) {
    wait_until([&] { return class_of(question) == expected; }, 10s,
               "class of " + question + ": " + expected, [&] { return seen; });
  };
  const std::string there = "client 10.1.0.5 --protocol tcp --port 22";
  const std::string back = "vm1 10.1.0.2 --protocol tcp --source-port 22";
  EXPECT_EQ(class_of(there), "none");
  fleet_->lab().homeport_checked("path assign interactive tcp:20-29");
  wait_for(there, "the rule for these ports: interactive");
  wait_for(back, "the rule for these ports: interactive");
  EXPECT_THAT(seen,
              AllOf(HasSubstr("vm1 -> 10.1.0.2, tcp from port 22, 100 bytes"),
                    HasSubstr(here.name() + "  class"), HasSubstr("hp_port_rules tcp:20-29")));
  fleet_->lab().homeport_checked("path unassign interactive tcp:20-29");
  wait_for(there, "none");
  wait_for(back, "none");
}

// The destination holds what the source redirects: source host, forwarded, held port.
TEST_F(TraceLab, FollowsTheRedirectOfAMove) {
  Host& here = fleet_->wait_somewhere();
  Host& there = fleet_->other_than(here);
  here.hold_at("redirected");
  auto move = fleet_->start_move(there);
  here.wait_held();
  const json::value told = trace(fleet_->c(), "client 10.1.0.5");
  here.release();
  EXPECT_EQ(fleet_->wait_ended().state, "succeeded");
  ASSERT_THAT(path(told),
              ElementsAre("hostC sent", here.name() + " sent", there.name() + " delivered"))
      << json::serialize(told);
  const json::array& hosts = told.at("hosts").as_array();
  EXPECT_THAT(steps(hosts[1]), ElementsAre("vtep", "source", "destination", "mark", "delivery"));
  EXPECT_EQ(hosts[1].at("counters"), (json::array{"forwarded"}));
  EXPECT_TRUE(hosts[1].at("copies").at(0).at("marked").as_bool());
  EXPECT_THAT(steps(hosts[2]), ElementsAre("vtep", "source", "destination", "held", "delivery"));
  EXPECT_EQ(hosts[2].at("counters"), (json::array{"delivered_held"}));
}

TEST_F(TraceLab, SaysWhichHostDoesNotAnswerAndWhatIsKnown) {
  Host& here = fleet_->wait_somewhere();
  here.agent().send_signal(SIGSTOP);
  const CommandResult silent = run(fleet_->c(), "client 10.1.0.5");
  here.agent().send_signal(SIGCONT);
  EXPECT_EQ(silent.status, 1);
  EXPECT_THAT(silent.out, AllOf(HasSubstr("hostC sends it to " + here.name() + ".\n"),
                                HasSubstr(here.name() + " does not tell: "),
                                HasSubstr("By the control database vm1 is at " + here.name())));
  here.kill_agent();
  const CommandResult gone = run(fleet_->c(), "client 10.1.0.5");
  EXPECT_EQ(gone.status, 1);
  EXPECT_THAT(gone.out, HasSubstr(here.name() + " does not tell: "));
}

// The kernel's tables are what counts, not what should be in them.
TEST_F(TraceLab, SeesWhatSomebodyHasDeleted) {
  const std::string map = (fleet_->c().directory() / "bpf" /
                           fmt::format("layout-{}", HP_LAYOUT_VERSION) / "hp_addresses")
                              .string();
  json::value told;
  // Mended every few seconds, perhaps between the two.
  wait_until(
      [&] {
        fleet_->c().inside().run([&] {
          run_checked({"bpftool", "map", "delete", "pinned", map, "key", "hex", "64", "00", "00",
                       "00", "52", "54", "00", "00", "01", "05", "00", "00"});
        });
        told = trace(fleet_->c(), "client 10.1.0.5");
        return !told.at("hosts").at(0).at("left").is_null();
      },
      30s, "the missing entry to be seen");
  const json::value& host = told.at("hosts").at(0);
  EXPECT_EQ(host.at("counters"), (json::array{"drop_unknown_address"}));
  EXPECT_EQ(host.at("left").at("end").as_string(), "sent");
  wait_until([&] { return path(trace(fleet_->c(), "client 10.1.0.5")).size() == 2; }, 10s,
             "the entry to be mended");
}

TEST_F(TraceLab, CountsRealPacketsAndLosesNone) {
  Host& here = fleet_->wait_somewhere();
  auto flow = fleet_->start_flow(1000);
  Process live(command("client 10.1.0.5 --live --for 4 --json"),
               {.inside = &fleet_->c().inside(), .log = fleet_->lab().directory() / "live.json"});
  ASSERT_EQ(live.wait(30s), 0) << live.log_tail();
  std::string all = read_text(live.log());
  all.pop_back();
  const json::value told = json::parse(all.substr(all.rfind('\n') + 1));
  ASSERT_THAT(path(told), ElementsAre("hostC sent", here.name() + " delivered"));
  const json::array& hosts = told.at("hosts").as_array();
  EXPECT_GT(count(hosts[0], "sent"), 1000u) << json::serialize(told);
  // One after the other is read while packets go on.
  EXPECT_NEAR(static_cast<double>(count(hosts[0], "sent")),
              static_cast<double>(count(hosts[0], "packets")), 5);
  EXPECT_GT(count(hosts[1], "delivered"), 1000u) << json::serialize(told);
  // Nothing of another kind.
  const CommandResult other = run(fleet_->c(), "client fd01::5 --live --for 1 --json");
  EXPECT_EQ(other.status, 0);
  EXPECT_THAT(other.out, Not(HasSubstr("\"packets\"")));
  // Neither do moves lose any meanwhile.
  Process during(command("client 10.1.0.5 --live"), {.inside = &fleet_->c().inside()});
  wait_until([] { return counting() >= 2; }, 20s, "packets to be counted");
  EXPECT_EQ(fleet_->move(fleet_->other_than(here)).status, 0);
  flow->wait_progress(1000, 20s);
  EXPECT_EQ(during.stop(), 0);
  const FlowReport report = flow->finish();
  EXPECT_EQ(report.lost, 0u) << report.to_string();
  EXPECT_EQ(report.duplicated, 0u) << report.to_string();
  EXPECT_EQ(report.reordered, 0u) << report.to_string();
  wait_until([] { return counting() == 0; }, 20s, "nothing to be counted any more");
}

TEST_F(TraceLab, CountingEndsWithWhoeverAsked) {
  Host& here = fleet_->wait_somewhere();
  Process live(command("client 10.1.0.5 --live"), {.inside = &fleet_->c().inside()});
  wait_until([] { return counting() == 2; }, 20s, "packets to be counted");
  fleet_->c().kill_agent();
  wait_until([] { return counting() == 0; }, 20s, "nothing to be counted any more");
  EXPECT_EQ(live.wait(30s), 1);
  fleet_->c().start_agent();
  fleet_->c().wait_ready();
  Process again(command("client 10.1.0.5 --live"), {.inside = &fleet_->c().inside()});
  wait_until([] { return counting() == 2; }, 20s, "packets to be counted");
  again.kill();
  wait_until([] { return counting() == 0; }, 20s, "nothing to be counted any more");
  EXPECT_EQ(path(trace(here, "client 10.1.0.5")).size(), 2u);
}

TEST_F(TraceLab, SaysThatCountsHaveBegunAnew) {
  Host& here = fleet_->wait_somewhere();
  Process live(command("client 10.1.0.5 --live --json"),
               {.inside = &fleet_->c().inside(), .log = fleet_->lab().directory() / "anew.json"});
  wait_until([] { return counting() == 2; }, 20s, "packets to be counted");
  EXPECT_THAT(read_text(live.log()), Not(HasSubstr(R"("counts_anew":true)")));
  here.stop_agent();
  here.start_agent();
  here.wait_ready();
  live.wait_for_log(R"("counts_anew":true)", 20s);
  EXPECT_EQ(live.stop(), 0);
  wait_until([] { return counting() == 0; }, 20s, "nothing to be counted any more");
}

TEST_F(TraceLab, SaysWhatIsWrongWithAQuestion) {
  const CommandResult unknown = run(fleet_->c(), "vm9 10.1.0.5");
  EXPECT_EQ(unknown.status, 1);
  EXPECT_THAT(unknown.err, HasSubstr("homeport app list"));
  const CommandResult nowhere = run(fleet_->c(), "host 10.1.0.5 --at hostX");
  EXPECT_EQ(nowhere.status, 1);
  EXPECT_THAT(nowhere.err, HasSubstr("no host of the name"));
  const std::string bad = fleet_->c().get("/v1/trace?from=client&to=10.1.0.5&length=7");
  EXPECT_THAT(bad, AllOf(HasSubstr("400 Bad Request"), HasSubstr("from 48 to 65535")));
}

TEST_F(TraceLab, CountsForAFewAtATime) {
  auto ask = [](int number) {
    return fleet_->c().get("/v1/trace?from=client&to=10.1.0.5&live=n" + std::to_string(number));
  };
  for (int number = 1; number <= 4; ++number) EXPECT_THAT(ask(number), HasSubstr("200 OK"));
  EXPECT_EQ(counting(), 2u);  // all of the same packets
  EXPECT_THAT(ask(5), AllOf(HasSubstr("503 "), HasSubstr("4 live traces")));
  wait_until([] { return counting() == 0; }, 20s, "those that nobody asks about any more to end");
  EXPECT_THAT(ask(5), HasSubstr("200 OK"));
  wait_until([] { return counting() == 0; }, 20s, "this one to end");
}

}  // namespace
}  // namespace homeport::lab
