document.body.append("Sessiongate");
