#include "migration/vm/launch_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace homeport::migration {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

policy::Result<LaunchProfile> parse(std::string_view text) {
  return parse_launch_profile(text, "p", "p.toml");
}

LaunchValues values_with_nics(int count) {
  LaunchValues values{"vm1", "/mem/vm1-1.ram", 64, 2, "/run/vm1/qmp.sock", "/run/vm1", {}};
  for (int i = 0; i < count; ++i) {
    values.nics.push_back(
        {10 + i, "tap" + std::to_string(i), "52:54:00:00:00:0" + std::to_string(i), 1430});
  }
  return values;
}

TEST(LaunchProfile, ReadsEveryKey) {
  auto profile = parse(R"(
program = "/bin/vmm"
args = ["-m", "{memory_mib}M"]
user = "someone"
group = "kvm"
[environment]
A = "1"
)");
  ASSERT_TRUE(profile) << profile.error().message;
  EXPECT_EQ(profile->name, "p");
  EXPECT_EQ(profile->program, "/bin/vmm");
  EXPECT_THAT(profile->arguments, ElementsAre("-m", "{memory_mib}M"));
  EXPECT_EQ(profile->user, "someone");
  EXPECT_EQ(profile->group, "kvm");
  EXPECT_EQ(profile->environment.at("A"), "1");
}

struct Wrong {
  std::string text;
  std::vector<std::string> expected;  // parts of the sentence
};

TEST(LaunchProfile, ErrorsNameLineAndKey) {
  for (const Wrong& wrong : std::vector<Wrong>{
           {"program = [", {"p.toml, line 1"}},
           {"args = []", {"p.toml", "program"}},
           {"\nprogram = 7", {"line 2", "program"}},
           {"program = \"vmm\"", {"line 1", "program", "absolute"}},
           {"program = \"/a\"\ncommand = \"x\"", {"line 2", "command"}},
           {"program = \"/a\"\nargs = \"x\"", {"line 2", "args"}},
           {"program = \"/a\"\nargs = [\"x\",\n 7]", {"line 3", "args[1]"}},
           {"program = \"/a\"\nargs = [\"{disk}\"]", {"line 2", "args[0]", "{disk}", "{tap_fd}"}},
           {"program = \"/a\"\nargs = [\"{mac.x}\"]", {"{mac.x}"}},
           {"program = \"/a\"\nargs = [\"{name.1}\"]", {"{name.1}"}},
           {"program = \"/a\"\nargs = [\"{name\"]", {"args[0]", "brace"}},
           {"program = \"/a\"\nargs = [\"name}\"]", {"args[0]", "brace"}},
           {"program = \"/a\"\nargs = [\"a\\u0000b\"]", {"args[0]", "NUL"}},
           {"program = \"/a\"\nenvironment = 1", {"line 2", "environment"}},
           {"program = \"/a\"\n[environment]\n\"A=B\" = \"1\"", {"line 3", "environment.A=B"}},
           {"program = \"/a\"\n[environment]\n\"A\\u0000B\" = \"1\"", {"line 3", "environment.A"}},
           {"program = \"/a\"\nuser = \"\"", {"line 2", "user"}},
       }) {
    auto profile = parse(wrong.text);
    ASSERT_FALSE(profile) << wrong.text;
    for (const std::string& part : wrong.expected) {
      EXPECT_THAT(profile.error().message, HasSubstr(part)) << wrong.text;
    }
  }
}

TEST(LaunchProfile, ExpandsEveryPlaceholder) {
  LaunchProfile profile;
  profile.arguments = {"{name},{memory_path},{memory_mib},{vcpus},{qmp},{runtime_dir}",
                       "{tap_fd},{tap},{mac},{mtu}", "{tap_fd.1},{mac.1}", "{{literal}}", "plain"};
  auto expanded = expand(profile, values_with_nics(2));
  ASSERT_TRUE(expanded) << expanded.error().message;
  EXPECT_THAT(*expanded, ElementsAre("vm1,/mem/vm1-1.ram,64,2,/run/vm1/qmp.sock,/run/vm1",
                                     "10,tap0,52:54:00:00:00:00,1430", "11,52:54:00:00:00:01",
                                     "{literal}", "plain"));
}

TEST(LaunchProfile, ValuesAreNotExpandedAgain) {
  LaunchProfile profile;
  profile.arguments = {"{name}"};
  LaunchValues values = values_with_nics(0);
  values.name = "{mac}; rm -rf / $(x)";
  auto expanded = expand(profile, values);
  ASSERT_TRUE(expanded);
  EXPECT_THAT(*expanded, ElementsAre("{mac}; rm -rf / $(x)"));
}

TEST(LaunchProfile, InterfaceTheVmHasNotIsAnError) {
  LaunchProfile profile;
  profile.name = "p";
  profile.arguments = {"x", "mac={mac.1}"};
  auto expanded = expand(profile, values_with_nics(1));
  ASSERT_FALSE(expanded);
  EXPECT_THAT(expanded.error().message, HasSubstr("args[1]"));
  EXPECT_THAT(expanded.error().message, HasSubstr("1 network interface"));
}

TEST(LaunchProfile, NamesCannotLeadOutOfTheDirectory) {
  for (std::string name : {"", ".", "..", "../x", "a/b", "/etc/passwd", "-x", "a b", ".hidden"}) {
    auto profile = load_launch_profile("/", name);
    ASSERT_FALSE(profile) << name;
    EXPECT_EQ(profile.error().code, boost::system::errc::invalid_argument) << name;
  }
  auto absent = load_launch_profile("/nonexistent", "absent");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, boost::system::errc::no_such_file_or_directory);
  EXPECT_THAT(absent.error().message, HasSubstr("/nonexistent/absent.toml"));
}

TEST(LaunchProfile, AProfileThatIsADirectoryIsAnError) {
  std::string directory = std::filesystem::temp_directory_path() / "homeport-profiles-XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  std::filesystem::create_directory(std::filesystem::path(directory) / "guest.toml");
  auto profile = load_launch_profile(directory, "guest");
  std::filesystem::remove_all(directory);
  ASSERT_FALSE(profile);
  EXPECT_THAT(profile.error().message, HasSubstr("Is a directory"));
}

TEST(LaunchProfile, TheExampleIsValid) {
  auto profile = load_launch_profile(LAUNCH_PROFILE_EXAMPLES, "qemu-tiny");
  ASSERT_TRUE(profile) << profile.error().message;
  auto expanded = expand(*profile, values_with_nics(1));
  ASSERT_TRUE(expanded) << expanded.error().message;
  EXPECT_THAT(*expanded, testing::Contains(HasSubstr("mem-path=/mem/vm1-1.ram,share=on")));
}

}  // namespace
}  // namespace homeport::migration
