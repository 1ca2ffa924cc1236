#include "policy/version.h"
#include "tests/unit/agent/cli/run_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace homeport::agent {
namespace {

using test::run_command;
using test::words;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class HelpOf : public ::testing::TestWithParam<const char*> {};

TEST_P(HelpOf, IsPrintedWithStatus0) {
  std::vector<std::string> arguments = words(GetParam());
  arguments.push_back("--help");
  auto ran = run_command(arguments);
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("--help"));
  EXPECT_EQ(ran.err, "");
}

INSTANTIATE_TEST_SUITE_P(
    Commands, HelpOf,
    ::testing::Values("", "db", "db init", "pki", "pki init", "pki issue", "pki show", "status",
                      "network", "network add", "network list", "network show", "network remove",
                      "app", "app add", "app set", "app list", "app show", "app remove",
                      "app start", "app stop", "policy", "policy set", "policy list",
                      "policy remove", "interface", "interface set", "interface list", "path",
                      "path pin", "path unpin", "path prefer", "path unprefer", "path forbid",
                      "path permit", "path limit", "path policy", "path list", "path show",
                      "path explain", "path watch", "move", "task", "task list", "task show",
                      "task cancel", "task resolve", "task remove", "task wait"));

struct Usage {
  const char* arguments;
  const char* message;
};

class WrongUsage : public ::testing::TestWithParam<Usage> {};

TEST_P(WrongUsage, IsStatus2WithAReason) {
  auto ran = run_command(words(GetParam().arguments));
  EXPECT_EQ(ran.code, 2) << ran.out;
  EXPECT_THAT(ran.err, StartsWith("homeport: "));
  EXPECT_THAT(ran.err, HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, WrongUsage,
    ::testing::Values(
        Usage{"", "subcommand is required"}, Usage{"network", "subcommand is required"},
        Usage{"nonsense", "There is no command \"nonsense\""},
        Usage{"mvoe vm1 --to hostB", "There is no command \"mvoe\"; did you mean move?"},
        Usage{"task lst", "There is no command \"lst\"; did you mean list?"},
        Usage{"move vm1", "--to is required"}, Usage{"move --to hostB", "APP is required"},
        Usage{"--timeout 0 task list", "--timeout"}, Usage{"network add net1", "--vni is required"},
        Usage{"network add net1 --vni 7340032", "--vni"},
        Usage{"network add net1 --vni 0", "--vni"},
        Usage{"network add net1 --vni 1 --subnet 10.1.0.1/24", "is not a prefix"},
        Usage{"network add net1 --vni 1 --subnet 10.1.0.0/33", "is not a prefix"},
        Usage{"network add net1 --vni 1 --subnet fd01::1/64", "is not a prefix"},
        Usage{"app add vm1 --network net1 --mac 02:00 --ip 10.1.0.1 --host a", "is not a MAC"},
        Usage{"app add vm1 --network net1 --mac 02:00:00:00:00:01 --ip 10.1.0 --host a",
              "is not an IPv4 or IPv6 address"},
        Usage{"app add vm1 --driver docker", "--driver"}, Usage{"app start", "NAME is required"},
        Usage{"app add vm1 --profile p", "--network is required"},
        Usage{"app add vm1 --network n --mac 02:00:00:00:00:01 --ip 10.1.0.1 --host a",
              "needs --profile"},
        Usage{"app add vm1 --network n --mac 02:00:00:00:00:01 --ip 10.1.0.1 --host a "
              "--profile p --device tap0 --json",
              "--device is for netdev"},
        Usage{"app add vm1 --network n --mac 02:00:00:00:00:01 --ip 10.1.0.1 --host a "
              "--driver netdev",
              "needs --device"},
        Usage{"app add vm1 --network n --mac 02:00:00:00:00:01 --ip 10.1.0.1 --host a "
              "--driver netdev --device tap0 --qmp-socket /run/vm1.sock",
              "are for qemu"},
        Usage{"policy set p --convergence maybe", "--convergence"},
        Usage{"path pin bulk h1/eth0", "OTHER is required"},
        Usage{"path pin slow h1/eth0 h2/eth0", "CLASS"},
        Usage{"path pin bulk eth0 h2/eth0", "\"eth0\" is no end of a path"},
        Usage{"path forbid bulk h1/lable:x", "is no end of a path"},
        Usage{"path prefer bulk fiber 0", "WEIGHT"}, Usage{"path limit", "CLASS is required"},
        Usage{"path limit bulk", "Say what to limit"}, Usage{"path limit bulk --rtt 0", "--rtt"},
        Usage{"path limit bulk --loss 101", "--loss"}, Usage{"path limit bulk --mtu 575", "--mtu"},
        Usage{"path limit bulk --clear all --detection soon", "--detection"},
        Usage{"path limit bulk --clear everything", "--clear"},
        Usage{"interface set h1 --cost 1", "\"h1\" is not HOST/INTERFACE"},
        Usage{"interface set */eth0 --cost 1", "is not HOST/INTERFACE"},
        Usage{"interface set h1/label:x --cost 1", "is not HOST/INTERFACE"},
        Usage{"interface set h1/eth0", "Say what to set"},
        Usage{"interface set h1/eth0 --bulk-limit 0", "--bulk-limit"},
        Usage{"interface set h1/eth0 --bulk-limit 5 --no-bulk-limit", "excludes"},
        Usage{"interface set h1/eth0 --cost 65536", "--cost"},
        Usage{"interface set h1/eth0 --allow --deny", "excludes"},
        Usage{"interface set h1/eth0 --label a --no-label", "excludes"},
        Usage{"app set vm1", "--class is required"},
        Usage{"app set vm1 --class gold", "is not interactive, default or bulk"},
        Usage{"task resolve --to source", "--to requires"},
        Usage{"task resolve abc --to both", "--to"}, Usage{"task wait", "TASK is required"},
        Usage{"db init --dir /tmp --listen 1.2.3.4", "is not an address and a port"},
        Usage{"db init --dir /tmp --listen 1.2.3.4:99", "--listen requires --pki"},
        Usage{"--ca /dev/null task list", "--ca requires"}));

TEST(CommandLine, SaysItsVersion) {
  auto ran = run_command({"--version"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.out, HasSubstr("homeport " + std::string(policy::kVersion)));
}

TEST(CommandLine, SslNeedsCertificates) {
  auto ran = run_command(words("--db ssl:192.0.2.1:6650 task list"));
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("needs --ca, --certificate and --private-key"));
}

TEST(CommandLine, AnAbsentDatabaseIsReportedInTime) {
  auto ran = run_command(words("--db tcp:127.0.0.1:1 --timeout 0.2 task list"));
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("does not answer within 0.2 s"));
}

TEST(CommandLine, WhatCannotBeADatabaseIsNotWaitedFor) {
  auto ran = run_command(words("--db unix:/nonexistent/db.sock task list"));
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("Nobody serves a control database at /nonexistent/db.sock"));
  ran = run_command(words("--db foo task list"));
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("\"foo\" is not ssl:ADDRESS:PORT"));
}

class PkiCommands : public ::testing::Test {
 protected:
  void SetUp() override {
    char directory[] = "/tmp/homeport-pki-XXXXXX";
    ASSERT_NE(mkdtemp(directory), nullptr);
    directory_ = directory;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  test::Ran pki(const std::string& line) {
    auto arguments = words("pki " + line + " --dir " + directory_ + "/new");
    return run_command(arguments);
  }

  std::string directory_;
};

TEST_F(PkiCommands, MakeAnAuthorityAndHostCertificates) {
  ASSERT_EQ(pki("init").code, 0);
  auto issued = pki("issue hostA --dns hosta.example --json");
  ASSERT_EQ(issued.code, 0) << issued.err;
  EXPECT_EQ(issued.json().at("name"), "hostA");
  EXPECT_EQ(issued.json().at("file").as_string(), directory_ + "/new/hostA.pem");
  EXPECT_EQ(issued.json().at("private_key").as_string(), directory_ + "/new/hostA.key");
  EXPECT_EQ(issued.json().at("sha256").as_string().size(), 64u);
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/new/ca.pem"));

  auto shown = pki("show hostA --json");
  EXPECT_EQ(shown.json().at(0).at("sha256"), issued.json().at("sha256"));
  EXPECT_EQ(shown.json().at(0).at("issuer"), "Homeport CA");
  EXPECT_EQ(pki("show --json").json().as_array().size(), 2u);
  EXPECT_THAT(pki("show").out, HasSubstr("hostA"));
}

TEST_F(PkiCommands, OverwriteNothing) {
  ASSERT_EQ(pki("init").code, 0);
  EXPECT_EQ(pki("init").code, 1);
  ASSERT_EQ(pki("issue hostA").code, 0);
  EXPECT_EQ(pki("issue hostA").code, 1);
  const auto taken = pki("issue ca");
  EXPECT_EQ(taken.code, 2);
  EXPECT_THAT(taken.err, HasSubstr("is taken"));
}

TEST_F(PkiCommands, SayWhatIsMissing) {
  EXPECT_EQ(pki("issue hostA").code, 1);
  EXPECT_THAT(pki("show").err, HasSubstr("homeport pki init"));
}

}  // namespace
}  // namespace homeport::agent
