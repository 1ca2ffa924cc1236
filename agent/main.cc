#include "agent/run.h"

int main(int argc, char** argv) {
  return homeport::agent::run_agent(argc, argv);
}
