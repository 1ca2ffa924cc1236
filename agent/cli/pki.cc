// homeport pki init|issue|show
#include "agent/cli/arguments.h"
#include "agent/cli/commands.h"
#include "agent/cli/output.h"
#include "agent/cli/pki_directory.h"
#include "agent/status/json.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include <memory>
#include <ostream>

namespace homeport::agent {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
namespace pki = overlay::pki;
using policy::Result;

struct PkiArguments {
  fs::path directory = "/etc/homeport/pki";
  std::string name;
  std::vector<std::string> dns_names;
  int days = 0;
};

json::object certificate_json(const fs::path& file, const pki::CertificateInfo& info) {
  return {{"file", file.string()},
          {"name", info.common_name},
          {"ca", info.is_ca},
          {"issuer", info.issuer_common_name},
          {"serial", info.serial},
          {"sha256", info.sha256},
          {"dns_names", json_array(info.dns_names)},
          {"not_before", to_rfc3339(info.validity.not_before)},
          {"not_after", to_rfc3339(info.validity.not_after)}};
}

/// Reports a certificate that has just been made.
Result<int> report_made(Invocation& invocation, const pki::KeyPairFiles& files) {
  auto info = pki::read_certificate(files.certificate);
  if (!info) return info.error();
  if (invocation.global.json) {
    json::object object = certificate_json(files.certificate, *info);
    object["private_key"] = files.private_key.string();
    invocation.terminal.out << json::serialize(object) << "\n";
  } else {
    invocation.terminal.out << fmt::format(
        "{}: certificate of {}, SHA-256 {}\n{}: its private key\n", files.certificate.string(),
        info->common_name, info->sha256, files.private_key.string());
  }
  return kExitDone;
}

Result<int> init(Invocation& invocation, const PkiArguments& given) {
  std::error_code ec;
  fs::create_directories(given.directory, ec);
  if (ec) {
    return policy::Error{ec, fmt::format("Cannot make the directory {}: {}.",
                                         given.directory.string(), ec.message())};
  }
  pki::KeyPairFiles files = ca_files(given.directory);
  auto made = pki::create_ca(files, given.name, pki::Validity::for_days(given.days));
  if (!made) return made.error();
  return report_made(invocation, files);
}

Result<int> issue(Invocation& invocation, const PkiArguments& given) {
  pki::KeyPairFiles files = pki_files(given.directory, given.name);
  auto made = pki::issue_host_certificate(
      ca_files(given.directory), {given.name, given.dns_names, pki::Validity::for_days(given.days)},
      files);
  if (!made) return made.error();
  return report_made(invocation, files);
}

Result<int> show(Invocation& invocation, const PkiArguments& given) {
  std::vector<fs::path> files;
  if (!given.name.empty()) {
    files.push_back(pki_files(given.directory, given.name).certificate);
  } else {
    std::error_code ec;
    for (const auto& entry : fs::directory_iterator(given.directory, ec)) {
      if (entry.path().extension() == ".pem") files.push_back(entry.path());
    }
    if (ec) {
      return policy::Error{ec, fmt::format("Cannot read {}: {}; `homeport pki init` makes one.",
                                           given.directory.string(), ec.message())};
    }
    std::sort(files.begin(), files.end());
  }
  json::array array;
  Table table({{"NAME"}, {"ISSUER"}, {"NOT AFTER"}, {"SHA-256"}});
  for (const fs::path& file : files) {
    auto info = pki::read_certificate(file);
    if (!info) return info.error();
    array.emplace_back(certificate_json(file, *info));
    table.add({info->common_name, info->issuer_common_name, to_rfc3339(info->validity.not_after),
               info->sha256});
  }
  invocation.terminal.out << (invocation.global.json ? json::serialize(array) + "\n"
                                                     : table.to_string());
  return kExitDone;
}

}  // namespace

void add_pki_commands(CLI::App& app, Invocation& invocation) {
  CLI::App* group = app.add_subcommand("pki", "Make and show certificates of hosts");
  group->require_subcommand(1);
  auto add_command = [&](const char* name, const char* help, auto command) {
    auto arguments = std::make_shared<PkiArguments>();
    CLI::App* added = group->add_subcommand(name, help);
    added
        ->add_option("--dir", arguments->directory,
                     "Where the certificates and keys are (default: /etc/homeport/pki)")
        ->type_name("DIR");
    added->callback([=, &invocation] {
      invocation.action = [=, &invocation] { return command(invocation, *arguments); };
    });
    return std::pair(added, arguments);
  };
  auto add_days = [](CLI::App* command, PkiArguments& arguments, int days) {
    arguments.days = days;
    command
        ->add_option("--days", arguments.days,
                     fmt::format("How long it is valid (default: {})", days))
        ->check(CLI::Range(1, 36'500));
  };

  auto [init_command, init_arguments] = add_command("init", "Make a certificate authority", init);
  init_arguments->name = "Homeport CA";
  init_command->add_option("--name", init_arguments->name, "Its common name");
  add_days(init_command, *init_arguments, 3'650);

  auto [issue_command, issue_arguments] =
      add_command("issue", "Make a host's key and certificate", issue);
  issue_command->add_option("NAME", issue_arguments->name, "The host's name")
      ->required()
      ->check([](const std::string& name) {
        return name == "ca" ? "ca is taken by the certificate authority's own files." : "";
      });
  add_repeated(*issue_command, "--dns", issue_arguments->dns_names,
               "A further DNS name for the certificate; may be repeated");
  add_days(issue_command, *issue_arguments, 825);

  auto [show_command, show_arguments] = add_command("show", "Show certificates", show);
  show_command->add_option("NAME", show_arguments->name, "Only this host's");
}

}  // namespace homeport::agent
