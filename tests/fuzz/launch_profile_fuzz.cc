// Launch profiles, and the command lines made of them.
#include "migration/vm/launch_profile.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace homeport;
  using fuzz::require;
  auto profile =
      migration::parse_launch_profile(fuzz::as_text(data, size), "fuzz", "launch.d/fuzz.toml");
  if (!profile) {
    require(profile.error().message.starts_with("launch.d/fuzz.toml"), "an error names the file");
    return 0;
  }
  require(profile->program.is_absolute(), "a program's path is absolute");
  migration::LaunchValues values;
  values.name = "vm{name}";  // what is put in is not looked at again
  values.memory_path = "/dev/shm/homeport/vm1.mem";
  values.nics.push_back({7, "hp0", "02:00:00:00:00:01", 1430});
  auto arguments = migration::expand(*profile, values);
  if (!arguments) {
    require(arguments.error().message.find("args[") != std::string::npos,
            "an error names the argument");
    return 0;
  }
  require(arguments->size() == profile->arguments.size(), "one argument stays one");
  for (const std::string& argument : *arguments) {
    require(argument.find('\0') == std::string::npos, "an argument ends where it seems to");
  }
  for (const auto& [name, value] : profile->environment) {
    require(!name.empty() && name.find('=') == std::string::npos, "a variable has a name");
    require((name + value).find('\0') == std::string::npos, "and ends where it seems to");
  }
  return 0;
}
