#include "agent/cli/app_view.h"

#include "agent/cli/lookup.h"
#include "agent/cli/output.h"
#include "agent/cli/task_view.h"

#include <fmt/format.h>
#include <boost/json.hpp>

namespace homeport::agent {
namespace {

namespace json = boost::json;

std::string location_text(const Contents& contents, const std::string& application) {
  Ownership owner = ownership(contents, application);
  switch (owner.kind) {
    case Ownership::Kind::owned:
      return owner.location;
    case Ownership::Kind::nowhere:
      return "nowhere";
    case Ownership::Kind::inconsistent:
      return "inconsistent";
    case Ownership::Kind::unknown:
      return "no binding";
  }
  return "";
}

std::string task_text(const Contents& contents, const std::string& application) {
  const Task* task = open_task_of(contents, application);
  if (!task) return "";
  TaskSnapshot view = view_task(contents, *task);
  return view.kind + " " + (view.phase.empty() ? view.state : view.phase);
}

json::object application_json(const Contents& contents, const Application& application) {
  Ownership owner = ownership(contents, application.name);
  json::object object{{"name", application.name},
                      {"driver", to_string(application.driver)},
                      {"launch_profile", application.launch_profile},
                      {"qmp_socket", application.qmp_socket},
                      {"policy", nullptr},
                      {"location", nullptr},
                      {"generation", owner.generation},
                      {"task", nullptr}};
  if (application.policy) object["policy"] = *application.policy;
  if (owner.kind == Ownership::Kind::owned) object["location"] = owner.location;
  if (const Task* task = open_task_of(contents, application.name)) {
    object["task"] = to_string(task->uuid);
  }
  json::object properties;
  for (const auto& [key, value] : application.properties) properties[key] = value;
  object["properties"] = std::move(properties);
  json::array bindings;
  for (const Binding* binding : contents.bindings_of(application.name)) {
    bindings.emplace_back(
        json::object{{"name", binding->name},
                     {"network", binding->network.str()},
                     {"mac", binding->mac.to_string()},
                     {"prior_addresses", json_array(texts(binding->prior_addresses))},
                     {"current_addresses", json_array(texts(binding->current_addresses))},
                     {"traffic_class", binding->traffic_class.str()},
                     {"location", binding->location.str()},
                     {"generation", binding->generation}});
  }
  object["bindings"] = std::move(bindings);
  return object;
}

}  // namespace

std::string applications_table(const Contents& contents) {
  Table table({{"APPLICATION"},
               {"DRIVER"},
               {"LOCATION"},
               {"GENERATION", true},
               {"NETWORK"},
               {"ADDRESSES"},
               {"TASK"}});
  for (const auto& [name, application] : contents.applications) {
    std::vector<std::string> networks, addresses;
    for (const Binding* binding : contents.bindings_of(name)) {
      networks.push_back(binding->network);
      for (const std::string& text : texts(binding->prior_addresses)) addresses.push_back(text);
    }
    table.add({name, to_string(application.driver), location_text(contents, name),
               std::to_string(ownership(contents, name).generation), join(networks, ", "),
               join(addresses, ", "), task_text(contents, name)});
  }
  return table.to_string();
}

std::string application_page(const Contents& contents, const Application& application) {
  Table facts({{"APPLICATION"}, {application.name}});
  facts.add({"driver", to_string(application.driver)});
  facts.add({"location", location_text(contents, application.name)});
  facts.add({"generation", std::to_string(ownership(contents, application.name).generation)});
  facts.add({"launch profile", application.launch_profile});
  facts.add({"QMP socket", application.qmp_socket});
  facts.add({"policy", application.policy.value_or("")});
  for (const auto& [key, value] : application.properties) facts.add({key, value});
  facts.add({"task", task_text(contents, application.name)});
  Table ports(
      {{"BINDING"}, {"NETWORK"}, {"CLASS"}, {"MAC"}, {"PRIOR ADDRESSES"}, {"CURRENT ADDRESSES"}});
  for (const Binding* binding : contents.bindings_of(application.name)) {
    ports.add({binding->name, binding->network,
               binding->traffic_class.empty() ? "default" : binding->traffic_class.str(),
               binding->mac.to_string(), join(texts(binding->prior_addresses), ", "),
               join(texts(binding->current_addresses), ", ")});
  }
  return facts.to_string() + "\n" + ports.to_string();
}

std::string applications_json_text(const Contents& contents) {
  json::array applications;
  for (const auto& [name, application] : contents.applications) {
    applications.emplace_back(application_json(contents, application));
  }
  return json::serialize(applications) + "\n";
}

std::string application_json_text(const Contents& contents, const Application& application) {
  return json::serialize(application_json(contents, application)) + "\n";
}

}  // namespace homeport::agent
