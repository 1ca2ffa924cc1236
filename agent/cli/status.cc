// homeport status
#include "agent/cli/commands.h"
#include "agent/cli/status_client.h"
#include "agent/cli/status_view.h"
#include "agent/status/server.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <boost/json/serialize.hpp>

#include <memory>
#include <ostream>

namespace homeport::agent {

void add_status_command(CLI::App& app, Invocation& invocation) {
  auto agent = std::make_shared<std::string>(kDefaultStatusEndpoint);
  CLI::App* command = app.add_subcommand("status", "Show the state of this machine's agent");
  command
      ->add_option("--agent", *agent,
                   fmt::format("Its status address: a loopback ADDRESS:PORT or unix:PATH "
                               "(default: {})",
                               kDefaultStatusEndpoint))
      ->envname("HOMEPORT_AGENT")
      ->type_name("ADDRESS");
  command->callback([agent, &invocation] {
    invocation.action = [agent, &invocation]() -> policy::Result<int> {
      auto status =
          get_status(*agent, "/v1/status",
                     std::chrono::round<std::chrono::milliseconds>(invocation.global.timeout));
      if (!status) return status.error();
      if (invocation.global.json) {
        invocation.terminal.out << boost::json::serialize(*status) << "\n";
        return kExitDone;
      }
      auto page = status_page(*status);
      if (!page) return page.error();
      invocation.terminal.out << *page;
      return kExitDone;
    };
  });
}

}  // namespace homeport::agent
