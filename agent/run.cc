#include "agent/run.h"

#include "agent/config.h"
#include "agent/network/underlay.h"
#include "agent/options.h"
#include "agent/wiring.h"
#include "migration/memory/dirty_tracker.h"
#include "overlay/log/log.h"
#include "policy/version.h"

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include <malloc.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <sstream>
#include <vector>

namespace homeport::agent {

namespace log = overlay::log;

namespace {

constexpr int kWrongUse = 2;

log::Settings log_settings(const Config& config) {
  log::Settings settings;
  settings.host = config.host;
  settings.level = log::level_from(config.log_level);
  settings.format = config.log_format == "json" ? log::Format::json : log::Format::text;
  settings.for_journal = log::stderr_is_journal();
  return settings;
}

/// What an agent with this configuration would refuse to start for, as far as that can be seen from
/// the files, addresses and kernel of this host.
std::vector<std::string> problems_here(const Config& config) {
  std::vector<std::string> problems;
  if (auto tls = overlay::TlsContext::load(config.tls); !tls) {
    problems.push_back(tls.error().message);
  } else {
    try {
      identity_of(config, *tls);
    } catch (const boost::system::system_error& error) {
      problems.push_back(why_not_started(error));
    }
  }
  if (auto mtu = tunnel_mtu_of(config.underlay.vtep); !mtu) problems.push_back(mtu.error().message);
  // Who may not try it out, as a user other than the agent's, learns nothing about the kernel.
  if (auto captures = migration::check_capture_support();
      !captures && captures.error().code != boost::system::errc::operation_not_permitted) {
    problems.push_back(captures.error().message);
  }
  return problems;
}

int check(const std::string& file, const Config& config) {
  const std::vector<std::string> problems = problems_here(config);
  for (const std::string& problem : problems) {
    std::cerr << "homeportd: " << file << ": " << problem << '\n';
  }
  if (!problems.empty()) return kWrongUse;
  std::cout << file << " is in order\n";
  return 0;
}

/// The exit status of what `runs`: its own, or 1 when it throws, which the log is told.
int status_of(const std::function<int()>& runs) {
  try {
    return runs();
  } catch (const boost::system::system_error& error) {
    log::error("{}", why_not_started(error));
  } catch (const std::exception& error) {
    log::error("{}", error.what());
  }
  return 1;
}

}  // namespace

std::string why_not_started(const boost::system::system_error& error) {
  std::string sentence = error.what();
  const std::string added = ": " + error.code().what();
  if (sentence.ends_with(added)) sentence.resize(sentence.size() - added.size());
  if (error.code() == boost::system::errc::address_in_use) {
    sentence +=
        "; is another homeportd running? end it, or set listen.control, listen.lanes or "
        "listen.status";
  }
  return sentence;
}

int run_agent(int argc, char** argv, migration::HoldPoint hold) {
  CLI::App app{"The Homeport agent: one on every compute node."};
  std::string file = "/etc/homeport/homeportd.toml";
  bool check_only = false, show_only = false;
  app.add_option("-c,--config", file, "Configuration file, see homeportd(8)")
      ->capture_default_str();
  app.add_flag("--check-config", check_only, "Check the configuration and what it names, and exit");
  app.add_flag("--show-config", show_only, "Print every key with its value in effect and exit");
  app.set_version_flag("--version", "homeportd " + std::string(policy::kVersion));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kWrongUse;
  }

  auto config = load_config(file);
  if (!config) {
    std::istringstream problems(config.error().message);
    for (std::string problem; std::getline(problems, problem);) {
      std::cerr << "homeportd: " << problem << '\n';
    }
    return kWrongUse;
  }
  if (show_only) {
    std::cout << to_toml(*config);
    return 0;
  }
  if (check_only) return check(file, *config);
  log::set_up(log_settings(*config));
  std::signal(SIGPIPE, SIG_IGN);
  // A move's thread would otherwise have a heap of its own, whose pages stay with the process when
  // the move is over.
  ::mallopt(M_ARENA_MAX, 1);

  return status_of([&] {
    boost::asio::io_context control{1};
    boost::asio::signal_set signals(control, SIGTERM, SIGINT);
    std::unique_ptr<Agent> agent;
    bool all_ended = false;
    signals.async_wait([&](boost::system::error_code error, int number) {
      if (error) return;
      log::info("ending on signal {}; guests and traffic stay as they are", number);
      // Whoever asks a second time does not want to wait.
      signals.async_wait([&](boost::system::error_code again, int) {
        if (!again) control.stop();
      });
      agent->shut_down([&](bool ended) {
        all_ended = ended;
        control.stop();
      });
    });
    agent = std::make_unique<Agent>(control, *config, std::move(hold));
    const int status = status_of([&] {
      control.run();
      return 0;
    });
    // Coroutines in the middle of a move hold what belongs to each other's executors, and cannot be
    // taken apart in any order. The next agent takes up what they were at, as after a kill.
    if (!all_ended) std::_Exit(status);
    return status;
  });
}

}  // namespace homeport::agent
