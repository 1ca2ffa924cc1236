// What homeportd does before it starts to work.
#include "agent/run.h"

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
  write("host = \"a\"\nunderlay.vtep = \"192.0.2.1\"\n");
  EXPECT_EQ(run({"--check-config", "--config", file_}), 0);
  EXPECT_EQ(out_, file_.string() + " is in order\n");
  EXPECT_THAT(err_, IsEmpty());
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
  write("host = \"a\"\nunderlay.vtep = \"192.0.2.1\"\nlimits.moves = 7\n");
  EXPECT_EQ(run({"--show-config", "--config", file_}), 0);
  EXPECT_THAT(out_, AllOf(StartsWith("host = \"a\"\n"), HasSubstr("[limits]\nmoves = 7\n"),
                          HasSubstr("control = [\"192.0.2.1:6710\"]\n")));
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
