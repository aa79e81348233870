// Prints the report of Khronos' glTF validator on one file as JSON: node validate_glb.js FILE. NODE_PATH says where it is installed.
const fs = require("fs");
const validator = require("gltf-validator");

validator
  .validateBytes(new Uint8Array(fs.readFileSync(process.argv[2])))
  .then((report) => console.log(JSON.stringify(report)));
