// What homeportd does before it starts to work.
#include "agent/run.h"

#include "overlay/channel/pki.h"
#include "policy/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

namespace homeport::agent {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class Run : public ::testing::Test {
 protected:
  Run() {
    std::string name = std::filesystem::temp_directory_path() / "homeport-run-XXXXXX";
    file_ = ::mkdtemp(name.data());
    file_ /= "homeportd.toml";
  }
  ~Run() override { std::filesystem::remove_all(file_.parent_path()); }

  /// A configuration of host `name` with a certificate of host a, and addresses that are here.
  std::string good(const std::string& name = "a") {
    namespace pki = overlay::pki;
    const auto folder = file_.parent_path();
    const pki::KeyPairFiles ca{folder / "ca.pem", folder / "ca.key"};
    const auto validity = pki::Validity::for_days(1);
    if (!std::filesystem::exists(ca.certificate)) {
      EXPECT_TRUE(pki::create_ca(ca, "CA", validity));
      EXPECT_TRUE(pki::issue_host_certificate(ca, {"a", {}, validity},
                                              {folder / "a.pem", folder / "a.key"}));
    }
    const std::string path = "\"" + folder.string() + "/";
    return "host = \"" + name + "\"\nunderlay.vtep = \"127.0.0.1\"\ntls.ca_certificate = " + path +
           "ca.pem\"\ntls.certificate = " + path + "a.pem\"\ntls.private_key = " + path +
           "a.key\"\n";
  }

  void write(const std::string& text) { std::ofstream(file_) << text; }

  int run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "homeportd");
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    std::ostringstream out, err;
    auto* cout = std::cout.rdbuf(out.rdbuf());
    auto* cerr = std::cerr.rdbuf(err.rdbuf());
    const int status = run_agent(static_cast<int>(pointers.size()), pointers.data());
    std::cout.rdbuf(cout);
    std::cerr.rdbuf(cerr);
    out_ = out.str();
    err_ = err.str();
    return status;
  }

  std::filesystem::path file_;
  std::string out_, err_;
};

TEST_F(Run, ChecksAConfiguration) {
  write(good());
  EXPECT_EQ(run({"--check-config", "--config", file_}), 0) << err_;
  EXPECT_EQ(out_, file_.string() + " is in order\n");
  EXPECT_THAT(err_, IsEmpty());
}

TEST_F(Run, ChecksTheCertificateAndTheAddress) {
  write(good("b"));
  EXPECT_EQ(run({"--check-config", "--config", file_}), 2);
  EXPECT_THAT(err_, AllOf(HasSubstr("a.pem is that of a, but this host is b"),
                          EndsWith("`homeport pki issue b`\n")));
  write(
      "host = \"a\"\nunderlay.vtep = \"192.0.2.1\"\ntls.certificate = \"/nowhere/a.pem\"\n"
      "tls.ca_certificate = \"/nowhere/ca.pem\"\n");
  EXPECT_EQ(run({"--check-config", "--config", file_}), 2);
  EXPECT_THAT(out_, IsEmpty());
  EXPECT_THAT(err_, AllOf(HasSubstr("/nowhere/"), HasSubstr("has the VTEP address 192.0.2.1")));
}

TEST(WhyNotStarted, IsASentence) {
  auto why = [](boost::system::errc::errc_t code, const std::string& sentence) {
    try {
      policy::Result<int>(policy::make_error(code, sentence)).value();
    } catch (const boost::system::system_error& error) {
      return why_not_started(error);
    }
    return std::string();
  };
  EXPECT_EQ(why(boost::system::errc::invalid_argument, "this is wrong"), "this is wrong");
  EXPECT_THAT(why(boost::system::errc::address_in_use, "cannot listen on [::1]:1: in use"),
              StartsWith("cannot listen on [::1]:1: in use; is another homeportd running?"));
}

TEST_F(Run, SaysALineForEachProblem) {
  write("host = 1\nunderlay.vtep = \"192.0.2.1\"\nlimits.moves = 0\n");
  for (const char* what : {"--check-config", "--show-config"}) {
    EXPECT_EQ(run({what, "--config", file_}), 2);
    EXPECT_THAT(out_, IsEmpty());
    EXPECT_EQ(err_, "homeportd: " + file_.string() + ":1: host: must be a string in quotes\n" +
                        "homeportd: " + file_.string() +
                        ":3: limits.moves: must be a whole number from 1 to 64\n");
  }
}

TEST_F(Run, SaysWhatItCannotRead) {
  EXPECT_EQ(run({"--check-config", "--config", file_}), 2);
  EXPECT_THAT(
      err_, AllOf(StartsWith("homeportd: "), HasSubstr(file_.string()), HasSubstr("No such file")));
  EXPECT_EQ(run({"--check-config", "--config", file_.parent_path()}), 2);
  EXPECT_THAT(err_, HasSubstr("Is a directory"));
}

TEST_F(Run, ShowsWhatIsInEffect) {
  write(good() + "limits.moves = 7\n");
  EXPECT_EQ(run({"--show-config", "--config", file_}), 0);
  EXPECT_THAT(out_, AllOf(StartsWith("host = \"a\"\n"), HasSubstr("[limits]\nmoves = 7\n"),
                          HasSubstr("control = [\"127.0.0.1:6710\"]\n")));
  write(out_);
  EXPECT_EQ(run({"--check-config", "--config", file_}), 0) << err_;
}

TEST_F(Run, RefusesAWrongCommandLine) {
  EXPECT_EQ(run({"--chekc-config"}), 2);
  EXPECT_EQ(run({"--version"}), 0);
  EXPECT_THAT(out_, StartsWith("homeportd "));
}

}  // namespace
}  // namespace homeport::agent
