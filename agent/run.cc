#include "agent/run.h"

#include "agent/config.h"
#include "agent/wiring.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include <csignal>
#include <iostream>

namespace homeport::agent {

int run_agent(int argc, char** argv, migration::HoldPoint hold) {
  CLI::App app{"The Homeport agent: one on every compute node."};
  std::string file = "/etc/homeport/homeportd.toml";
  bool check_only = false;
  app.add_option("-c,--config", file, "Configuration file, see homeportd(8)")
      ->capture_default_str();
  app.add_flag("--check-config", check_only, "Check the configuration file and exit");
  app.set_version_flag("--version", std::string("homeportd " HOMEPORT_VERSION));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  auto config = load_config(file);
  if (!config) {
    std::cerr << "homeportd: " << config.error().message << '\n';
    return 2;
  }
  if (check_only) {
    std::cout << file << " is in order\n";
    return 0;
  }
  // systemd's journal adds the time; a sink of its own keeps one line one write.
  spdlog::set_default_logger(spdlog::stderr_logger_mt("homeportd"));
  spdlog::set_level(spdlog::level::from_str(config->log_level));
  spdlog::flush_on(spdlog::level::trace);
  std::signal(SIGPIPE, SIG_IGN);

  try {
    boost::asio::io_context control{1};
    boost::asio::signal_set signals(control, SIGTERM, SIGINT);
    signals.async_wait([&](boost::system::error_code error, int number) {
      if (error) return;
      spdlog::info("ending on signal {}; guests and traffic stay as they are", number);
      control.stop();
    });
    Agent agent(control, *config, std::move(hold));
    control.run();
  } catch (const std::exception& error) {
    spdlog::error("{}", error.what());
    return 1;
  }
  return 0;
}

}  // namespace homeport::agent
