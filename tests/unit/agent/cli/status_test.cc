#include "agent/cli/status_view.h"
#include "agent/status/json.h"
#include "agent/status/server.h"
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
using ::testing::HasSubstr;
using ::testing::Not;

class StatusCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    char directory[] = "/tmp/homeport-status-XXXXXX";
    ASSERT_NE(mkdtemp(directory), nullptr);
    directory_ = directory;
    socket_ = "unix:" + directory_ + "/status.sock";
    auto server = StatusServer::start(
        context_.get_executor(), {.listen = {"127.0.0.1:0", socket_}},
        [](const StatusWanted&) { return test::fixed_model(); },
        [](auto) -> boost::asio::awaitable<policy::Result<boost::json::object>> {
          co_return boost::json::object{};
        });
    ASSERT_TRUE(server);
    server_ = std::move(*server);
    address_ = "127.0.0.1:" + std::to_string(server_->ports().front());
    thread_ = std::thread([this] { context_.run(); });
  }

  void TearDown() override {
    boost::asio::post(context_, [this] { server_.reset(); });
    thread_.join();
    std::filesystem::remove_all(directory_);
  }

  boost::asio::io_context context_{1};
  std::string directory_, socket_, address_;
  std::unique_ptr<StatusServer> server_;
  std::thread thread_;
};

TEST_F(StatusCommand, ShowsAPageOverTcpAndUnixSocket) {
  for (const std::string& agent : {address_, socket_}) {
    auto ran = run_command({"status", "--agent", agent});
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_THAT(ran.out, HasSubstr("Host hostA, homeportd 0.1.0, up 1 min 30 s, ready\n"));
    EXPECT_THAT(ran.out, HasSubstr("Control database ssl:[2001:db8::1]:6650: synchronized\n"));
    EXPECT_THAT(ran.out, HasSubstr("10.1.0.10, fd01::10"));
  }
}

TEST_F(StatusCommand, PassesJsonOn) {
  auto ran = run_command({"status", "--agent", address_, "--json"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.json().at("tasks").at(0).at("phase"), "copying");
}

TEST(StatusPage, ShowsProblemsAndTheLastTasks) {
  StatusModel model = test::fixed_model();
  for (int number = 1; number <= 7; ++number) {
    TaskSnapshot ended = model.tasks.front();
    ended.id = "ended-" + std::to_string(number);
    ended.started = model.started + std::chrono::seconds(number);
    ended.finished = model.now;
    model.tasks.push_back(ended);
  }
  const std::string page = *status_page(to_json(model));
  EXPECT_THAT(page, HasSubstr("  problem: no device\n"));
  EXPECT_THAT(page, HasSubstr(model.tasks.front().id));
  EXPECT_THAT(page, HasSubstr("ended-7"));
  EXPECT_THAT(page, HasSubstr("ended-3"));
  EXPECT_THAT(page, Not(HasSubstr("ended-2")));
}

TEST(StatusPage, HoldsNothingThatATerminalWouldObey) {
  StatusModel model = test::fixed_model();
  model.datapath.problems = {"no \x1b[2Jdevice"};
  model.tasks.front().phase = "\x1b]0;title\x07";
  const std::string page = *status_page(to_json(model));
  EXPECT_THAT(page, HasSubstr("  problem: no ?[2Jdevice\n"));
  EXPECT_THAT(page, Not(HasSubstr("\x1b")));
}

TEST(StatusCommandAlone, SaysWhenNobodyAnswers) {
  auto ran = run_command({"status", "--agent", "unix:/nonexistent/status.sock"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("check that homeportd runs"));
}

TEST(StatusCommandAlone, AsksOnlyThisMachine) {
  auto ran = run_command({"status", "--agent", "192.0.2.1:8480"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("is not loopback"));
}

}  // namespace
}  // namespace homeport::agent
