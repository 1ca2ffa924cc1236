// The agent's configuration file.
#include "agent/config.h"
#include "overlay/channel/pki.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace homeport;
  using fuzz::require;
  auto config = agent::parse_config(fuzz::as_text(data, size), "fuzz.toml");
  if (!config) {
    require(config.error().message.starts_with("fuzz.toml"), "an error names the file");
    return 0;
  }
  require(overlay::pki::valid_host_name(config->host), "a host has a name");
  require(!config->underlay.vtep.is_unspecified(), "a host has an address");
  require(!config->listen.control.empty() && !config->listen.lanes.empty(), "others can reach it");
  for (const auto& endpoint : config->listen.control) require(endpoint.port() != 0, "at a port");
  for (const auto& endpoint : config->listen.lanes) require(endpoint.port() != 0, "at a port");
  require(config->directories.state.is_absolute(), "paths are absolute");
  require(config->limits.moves >= 1 && config->limits.moves <= 64, "moves are limited");
  for (auto time : {config->limits.dead_peer, config->database.probe_interval}) {
    require(time >= std::chrono::seconds(1) && time <= std::chrono::minutes(10), "times are sane");
  }
  return 0;
}
