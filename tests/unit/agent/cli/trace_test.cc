#include "agent/cli/trace_view.h"
#include "agent/status/server.h"
#include "agent/trace/trace_json.h"
#include "tests/unit/agent/cli/run_command.h"
#include "tests/unit/agent/status/fixed_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <filesystem>
#include <thread>

namespace homeport::agent {
namespace {

using test::run_command;
using testing::HasSubstr;
using testing::Not;
using Query = std::map<std::string, std::string, std::less<>>;

const TraceQuestion kQuestion{.from = "vm1", .to = boost::asio::ip::make_address("10.1.0.5")};

/// Sent by one host, delivered by the other.
std::vector<TracedHost> hosts() {
  TracedHost first{.host = "hostA"};
  first.found.steps = {{"port", "hp_ports 12", "tap1 is the port"},
                       {"delivery", "", "through the tunnel"}};
  first.found.end = "sent";
  first.found.copies = {{"", boost::asio::ip::make_address("192.0.2.2"), false, "hostB"}};
  TracedHost second{.host = "hostB", .sent_by = "hostA"};
  second.found.steps = {{"vtep", "hp_vteps 192.0.2.1", "it is a host's"}};
  second.found.end = "delivered";
  second.found.copies = {{"tap2", {}, false, ""}};
  return {first, second};
}

std::string page(const std::vector<TracedHost>& hosts) {
  return *trace_page("vm1", to_json(kQuestion, hosts));
}

TEST(TracePageOf, IsATableAndWhatCameOfThePacket) {
  EXPECT_EQ(page(hosts()),
            "vm1 -> 10.1.0.5, udp, 100 bytes\n\n"
            "HOST   STEP      ENTRY               FOUND\n"
            "hostA  port      hp_ports 12         tap1 is the port\n"
            "hostA  delivery  -                   through the tunnel\n"
            "hostB  vtep      hp_vteps 192.0.2.1  it is a host's\n\n"
            "hostA sends it to hostB.\n"
            "hostB delivers it to tap2.\n");
}

TEST(TracePageOf, HasACountAtEachEntry) {
  auto counted = hosts();
  counted[0].counts = {{"packets", 10}, {"sent", 8}, {"drop_expired", 2}};
  counted[1].counts = std::map<std::string, std::uint64_t>{};
  const std::string text = page(counted);
  EXPECT_THAT(text, HasSubstr("FOUND               PACKETS\n"));
  EXPECT_THAT(text, HasSubstr("tap1 is the port         10\n"));
  EXPECT_THAT(text, HasSubstr("through the tunnel        8\n"));
  EXPECT_THAT(text, HasSubstr("it is a host's            0\n"));
  EXPECT_THAT(text, HasSubstr("  Also counted there: drop_expired 2.\n"));
  counted[1].counts.reset();
  counted[1].counting_problem = "Packets cannot be counted.";
  EXPECT_THAT(page(counted), HasSubstr("  Packets cannot be counted.\n"));
  EXPECT_THAT(page(counted), testing::Not(HasSubstr("begun anew")));
  counted[1].counts_anew = true;
  EXPECT_THAT(page(counted), HasSubstr("  The counts of hostB have begun anew meanwhile: "));
}

TEST(TracePageOf, NamesWhatHappens) {
  auto told = [](const char* end, std::vector<std::string> counters) {
    TracedHost host{.host = "hostA"};
    host.found.end = end;
    host.found.counters = std::move(counters);
    return page({host});
  };
  EXPECT_THAT(told("dropped", {"routed", "drop_expired"}), HasSubstr("drops it (drop_expired)."));
  EXPECT_THAT(told("dropped", {}), HasSubstr("hostA does not carry it."));
  EXPECT_THAT(told("answered", {"too_big_answers"}), HasSubstr("itself (too_big_answers)."));
  EXPECT_THAT(told("answered", {}), HasSubstr("hostA does not send it: the process that would"));
  EXPECT_THAT(told("stack", {}), HasSubstr("hostA takes it itself."));
  EXPECT_THAT(told("normal", {}), HasSubstr("normal way"));
  EXPECT_THAT(told("copied", {}), HasSubstr("copies it to nobody."));
}

TEST(TracePageOf, SaysWhatSomebodyHasChangedAndWhoIsSilent) {
  auto changed = hosts();
  changed[0].left = changed[0].found;
  changed[0].found.end = "dropped";
  changed[0].found.copies = {};
  changed[0].found.counters = {"drop_unknown_address"};
  changed.pop_back();
  EXPECT_THAT(page(changed),
              HasSubstr("hostA drops it (drop_unknown_address).\n  Somebody has changed the tables "
                        "of hostA: as its agent has left them, it sends it to hostB."));
  EXPECT_TRUE(is_whole(to_json(kQuestion, changed)));
  auto silent = hosts();
  silent[1] = {.host = "hostB"};
  silent[1].found.end = "unknown";
  silent[1].problem = "hostB does not tell: no answer.";
  EXPECT_THAT(page(silent), HasSubstr("\nhostB does not tell: no answer.\n"));
  EXPECT_FALSE(is_whole(to_json(kQuestion, silent)));
}

TEST(TracePageOf, RefusesWhatIsNoTrace) {
  EXPECT_FALSE(trace_page("vm1", boost::json::object{{"hosts", 3}}));
  EXPECT_FALSE(trace_page("vm1", {}));
  EXPECT_FALSE(is_whole({}));
}

class TraceCommand : public testing::Test {
 protected:
  void SetUp() override {
    char directory[] = "/tmp/homeport-trace-XXXXXX";
    ASSERT_NE(mkdtemp(directory), nullptr);
    directory_ = directory;
    agent_ = "unix:" + directory_ + "/status.sock";
    server_ =
        StatusServer::start(
            context_.get_executor(), {.listen = {agent_}},
            [](const StatusWanted&) { return test::fixed_model(); },
            [this](Query query) -> boost::asio::awaitable<policy::Result<boost::json::object>> {
              queries_.push_back(query);
              auto question = parse_question(query);
              if (!question) co_return question.error();
              co_return to_json(*question, hosts_);
            })
            .value();
    thread_ = std::thread([this] { context_.run(); });
  }

  void TearDown() override {
    boost::asio::post(context_, [this] { server_.reset(); });
    thread_.join();
    std::filesystem::remove_all(directory_);
  }

  test::Ran run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "trace");
    arguments.insert(arguments.end(), {"--agent", agent_});
    return run_command(arguments);
  }

  std::vector<TracedHost> hosts_ = hosts();
  std::vector<Query> queries_;
  boost::asio::io_context context_{1};
  std::string directory_, agent_;
  std::unique_ptr<StatusServer> server_;
  std::thread thread_;
};

TEST_F(TraceCommand, AsksTheAgent) {
  auto ran = run({"a&b=c ", "fd01::5", "--source", "fd01::6", "--protocol", "icmp", "--length",
                  "1500", "--hops", "2", "--may-fragment"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("a&b=c  -> fd01::5, icmp, 1500 bytes\n"));
  EXPECT_EQ(queries_.at(0), (Query{{"from", "a&b=c "},
                                   {"to", "fd01::5"},
                                   {"source", "fd01::6"},
                                   {"protocol", "icmp"},
                                   {"length", "1500"},
                                   {"hops", "2"},
                                   {"fragment", "yes"}}));
  auto as_json = run({"host", "10.1.0.5", "--at", "hostB", "--json"});
  EXPECT_EQ(as_json.json().at("hosts").at(1).at("host"), "hostB");
  EXPECT_EQ(queries_.at(1).at("at"), "hostB");
}

TEST_F(TraceCommand, LiveAsksAgainByOneName) {
  auto ran = run({"vm1", "10.1.0.5", "--live", "--for", "0.1"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  ASSERT_GE(queries_.size(), 2u);
  EXPECT_EQ(queries_.front().at("live"), queries_.back().at("live"));
  // Once, because it is not drawn in place.
  EXPECT_EQ(ran.out.find("HOST"), ran.out.rfind("HOST"));
}

TEST_F(TraceCommand, FailsWhenAHostHasNotTold) {
  hosts_[1].problem = "hostB does not tell.";
  EXPECT_EQ(run({"vm1", "10.1.0.5"}).code, 1);
}

TEST_F(TraceCommand, RefusesWrongUsage) {
  for (const std::vector<std::string>& wrong : {std::vector<std::string>{"vm1"},
                                                {"vm1", "not-an-address"},
                                                {"vm1", "10.1.0.5", "--protocol", "gre"},
                                                {"vm1", "10.1.0.5", "--port", "0"},
                                                {"vm1", "10.1.0.5", "--length", "7"},
                                                {"vm1", "10.1.0.5", "--for", "3"}}) {
    EXPECT_EQ(run(wrong).code, 2);
  }
  EXPECT_TRUE(queries_.empty());
  auto refused = run({"vm1", "127.0.0.1"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("not an address that a packet can be sent to"));
}

}  // namespace
}  // namespace homeport::agent
