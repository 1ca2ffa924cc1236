// The controllers of docs/controllers direct a fleet whose hosts reach the control database in
// three ways, and nobody who talks to the guest notices.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lab/lab.h"

namespace homeport::lab {
namespace {

struct Controller {
  const char* name;
  Command program;
};

class Controllers : public testing::TestWithParam<Controller> {
 protected:
  static void SetUpTestSuite() {
    lab_ = std::make_unique<Lab>("controllers");
    Database& database = lab_->database();
    // Hosts by TLS, TCP and a unix socket; the controller that knows only TCP on loopback.
    database.server(0).listen("ptcp:6641:192.168.77.1");
    database.server(0).listen("ptcp:6640:127.0.0.1");
    lab_->add_host("hostA");
    lab_->add_host("hostB", {.database = "tcp:192.168.77.1:6641"});
    Host& c = lab_->add_host("hostC", {.database = database.local_remote()});
    lab_->start_agents();
    lab_->add_network();
    lab_->add_client(c);
    // Each controller makes the network itself. The client's binding waits for it.
    run_checked(
        {"ovsdb-client", "transact", database.local_remote(),
         R"(["Homeport",{"op":"delete","table":"Network","where":[["name","==","net1"]]}])"});
    lab_->write_profile({}, "qemu-tiny");
  }
  static void TearDownTestSuite() { lab_.reset(); }

  /// `controller ARGUMENTS` to its end; on the database's machine.
  CommandResult control(const std::string& arguments) {
    Command command = GetParam().program;
    for (auto& word : words(arguments)) command.push_back(std::move(word));
    return run_command(command,
                       {.inside = &lab_->database().server(0).inside(),
                        .environment = {{"DB", lab_->database().local_remote()}}},
                       60s);
  }

  static std::unique_ptr<Lab> lab_;
};

std::unique_ptr<Lab> Controllers::lab_;

TEST_P(Controllers, MovesAGuestThereAndBack) {
  const CommandResult created = control("create");
  ASSERT_EQ(created.status, 0) << created.err;
  GuestControl(lab_->client(), "10.1.0.5").wait_ready(60s);
  StreamClient stream(lab_->client(), "10.1.0.5",
                      lab_->directory() / (std::string(GetParam().name) + "-stream.log"));
  stream.wait_progress(64 * 1024, 20s);
  for (const std::string to : {"hostB", "hostA"}) {
    const CommandResult moved = control("move " + to);
    ASSERT_EQ(moved.status, 0) << moved.out << moved.err;
    EXPECT_THAT(moved.out, testing::HasSubstr("move: done"));
    EXPECT_EQ(lab_->location("vm1"), to);
    EXPECT_GT(lab_->host(to).guest_pid("vm1"), 0);
    stream.wait_progress(64 * 1024, 20s);
  }
  const CommandResult refused = control("move nowhere");
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.err, testing::HasSubstr("nowhere")) << "it must say why";

  const StreamReport checked = stream.finish();
  EXPECT_TRUE(checked.survived) << checked.error;
  EXPECT_EQ(checked.mismatches, 0u);
  const CommandResult removed = control("remove");
  EXPECT_EQ(removed.status, 0) << removed.err;
  wait_until([&] { return lab_->leftovers().empty(); }, 10s, "nothing to be left of the guest");
  EXPECT_THAT(lab_->homeport_checked("task list --json"), testing::StartsWith("[]"));
  EXPECT_THAT(lab_->complaints({"move of vm1 failed: .*nowhere"}), testing::IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    Of, Controllers,
    testing::Values(Controller{"shell", {"sh", HOMEPORT_CONTROLLERS "/controller.sh"}},
                    Controller{"python",
                               {"/usr/bin/python3", HOMEPORT_CONTROLLERS "/controller.py"}},
                    Controller{"go", {HOMEPORT_GO_CONTROLLER}}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace homeport::lab
