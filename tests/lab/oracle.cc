// After every lab test: what each host has programmed is what a recompute from the whole control
// database gives. Linked into each program of lab tests.
#include <gtest/gtest.h>
#include <boost/json/parse.hpp>

#include "tests/lab/lab.h"
#include "tests/lab/wait.h"

namespace homeport::lab {
namespace {

/// As the host's agent says; the reply itself where it is none.
std::string differences(const Host& host) {
  const std::string reply = host.get("/v1/datapath");
  boost::system::error_code bad;
  const auto body =
      boost::json::parse(reply.substr(std::min(reply.size(), reply.find("\r\n\r\n"))), bad);
  if (bad || !body.is_object() || !body.as_object().contains("differences")) {
    return "no answer: " + reply;
  }
  std::string text;
  for (const auto& sentence : body.at("differences").as_array()) {
    text += std::string(sentence.as_string()) + "\n";
  }
  return text;
}

/// What a test did last may still be on its way.
constexpr Clock::duration kPatience = 20s;

void inspect(Lab& lab) {
  for (Host* host : lab.hosts()) {
    if (!host->agent_runs()) continue;
    try {
      wait_until([&] { return differences(*host).empty(); }, kPatience,
                 host->name() + " to have programmed what the control database says",
                 [&] { return differences(*host); });
    } catch (const std::exception& failure) {
      ADD_FAILURE() << failure.what();
    }
  }
}

class Oracle : public testing::EmptyTestEventListener {
  void OnTestEnd(const testing::TestInfo& test) override {
    if (test.result()->Failed()) return;
    for (Lab* lab : Lab::alive()) inspect(*lab);
  }
};

/// Before main(): every program of lab tests has it.
const bool kListens = [] {
  Lab::before_end([](Lab& lab) {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    if (test == nullptr || !test->result()->Failed()) inspect(lab);
  });
  testing::UnitTest::GetInstance()->listeners().Append(new Oracle);
  return true;
}();

}  // namespace
}  // namespace homeport::lab
